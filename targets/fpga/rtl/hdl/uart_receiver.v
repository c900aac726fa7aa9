// Asynchronous serial receiver: 8 data bits, no parity, least significant bit first.
// `valid` is high for one cycle with each byte whose stop bit was seen.
module uart_receiver #(
  parameter CYCLES_PER_BIT = 100
) (
  input wire clk,
  input wire line,
  output reg valid,
  output reg [7:0] data
);
  localparam LAST = CYCLES_PER_BIT - 1;
  localparam MIDDLE = CYCLES_PER_BIT / 2;

  reg [1:0] sampled = 2'b11;  // the line comes from another clock domain
  always @(posedge clk) sampled <= {sampled[0], line};

  reg [15:0] cycle = 16'd0;
  reg [3:0] position = 4'd0;  // 0: idle; 1: start bit; 2 to 9: data; 10: stop bit
  initial valid = 1'b0;

  always @(posedge clk) begin
    valid <= 1'b0;
    if (position == 4'd0) begin
      cycle <= 16'd0;
      if (!sampled[1]) position <= 4'd1;
    end else begin
      cycle <= (cycle == LAST) ? 16'd0 : cycle + 16'd1;
      if (cycle == LAST) position <= position + 4'd1;
      if (cycle == MIDDLE) begin
        if (position == 4'd1 && sampled[1]) position <= 4'd0;  // a glitch, no start bit
        if (position >= 4'd2 && position <= 4'd9) data <= {sampled[1], data[7:1]};
        if (position == 4'd10) begin
          valid <= sampled[1];
          position <= 4'd0;
        end
      end
    end
  end
endmodule
