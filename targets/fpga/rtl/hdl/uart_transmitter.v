// Asynchronous serial transmitter: 8 data bits, no parity, least significant bit first.
// Takes a byte in a cycle where `valid` and `ready` are high.
module uart_transmitter #(
  parameter CYCLES_PER_BIT = 100
) (
  input wire clk,
  input wire valid,
  input wire [7:0] data,
  output wire ready,
  output wire line
);
  localparam LAST = CYCLES_PER_BIT - 1;

  reg [15:0] cycle = 16'd0;
  reg [3:0] left = 4'd0;  // bits to send, start and stop included
  reg [9:0] frame = 10'h3ff;

  assign ready = (left == 4'd0);
  assign line = frame[0];

  always @(posedge clk) begin
    if (ready) begin
      cycle <= 16'd0;
      if (valid) begin
        frame <= {1'b1, data, 1'b0};
        left <= 4'd10;
      end
    end else if (cycle == LAST) begin
      cycle <= 16'd0;
      frame <= {1'b1, frame[9:1]};
      left <= left - 4'd1;
    end else begin
      cycle <= cycle + 16'd1;
    end
  end
endmodule
