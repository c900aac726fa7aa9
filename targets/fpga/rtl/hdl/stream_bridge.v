// Bytes <-> samples. X_BYTES bytes, the first in the lowest bits, make a sample, which enters the network; each result
// leaves as Y_BYTES bytes, the first from the lowest bits. Results wait in a queue of 16 while bytes are being sent.
// After a pause of 2^PAUSE_BITS cycles the next byte is the first of a sample: what was cut off does no harm.
module stream_bridge #(
  parameter X_BYTES = 1,
  parameter Y_BYTES = 1,
  parameter PAUSE_BITS = 20
) (
  input wire clk,
  // bytes
  input wire rx_valid,
  input wire [7:0] rx_data,
  output wire tx_valid,
  output wire [7:0] tx_data,
  input wire tx_ready,
  // samples
  output reg x_valid,
  output reg [8*X_BYTES-1:0] x,
  input wire y_valid,
  input wire [8*Y_BYTES-1:0] y
);
  // -- bytes in
  reg [15:0] received = 16'd0;
  reg [PAUSE_BITS:0] pause = 0;
  initial x_valid = 1'b0;

  always @(posedge clk) begin
    x_valid <= 1'b0;
    if (rx_valid) begin
      x <= (x >> 8) | ({{8*X_BYTES{1'b0}}, rx_data} << (8 * (X_BYTES - 1)));
      received <= (received == X_BYTES - 1) ? 16'd0 : received + 16'd1;
      x_valid <= (received == X_BYTES - 1);
      pause <= 0;
    end else if (pause[PAUSE_BITS]) begin
      received <= 16'd0;
    end else begin
      pause <= pause + 1'b1;
    end
  end

  // -- results out
  reg [8*Y_BYTES-1:0] queue [0:15];
  reg [4:0] written = 5'd0, taken = 5'd0;
  wire empty = (written == taken);
  wire full = (written == {~taken[4], taken[3:0]});
  reg [8*Y_BYTES-1:0] sending;
  reg [15:0] left = 16'd0;

  assign tx_valid = (left != 16'd0);
  assign tx_data = sending[7:0];

  always @(posedge clk) begin
    if (y_valid && !full) begin
      queue[written[3:0]] <= y;
      written <= written + 5'd1;
    end
    if (left == 16'd0) begin
      if (!empty) begin
        sending <= queue[taken[3:0]];
        taken <= taken + 5'd1;
        left <= Y_BYTES;
      end
    end else if (tx_ready) begin
      sending <= sending >> 8;
      left <= left - 16'd1;
    end
  end
endmodule
