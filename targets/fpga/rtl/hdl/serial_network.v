// The network behind a serial line: what every board's top module instantiates.
module serial_network #(
  parameter CYCLES_PER_BIT = 100,
  parameter PAUSE_BITS = 20,
  parameter X_BITS = 8,
  parameter Y_BITS = 8
) (
  input wire clk,
  input wire rx,
  output wire tx,
  output wire busy
);
  localparam X_BYTES = (X_BITS + 7) / 8;
  localparam Y_BYTES = (Y_BITS + 7) / 8;

  wire rx_valid, tx_valid, tx_ready, x_valid, y_valid;
  wire [7:0] rx_data, tx_data;
  wire [8*X_BYTES-1:0] x;
  wire [Y_BITS-1:0] y;
  wire [8*Y_BYTES-1:0] y_padded = y;

  uart_receiver #(.CYCLES_PER_BIT(CYCLES_PER_BIT)) receiver (
    .clk(clk), .line(rx), .valid(rx_valid), .data(rx_data));
  uart_transmitter #(.CYCLES_PER_BIT(CYCLES_PER_BIT)) transmitter (
    .clk(clk), .valid(tx_valid), .data(tx_data), .ready(tx_ready), .line(tx));
  stream_bridge #(.X_BYTES(X_BYTES), .Y_BYTES(Y_BYTES), .PAUSE_BITS(PAUSE_BITS)) bridge (
    .clk(clk), .rx_valid(rx_valid), .rx_data(rx_data), .tx_valid(tx_valid), .tx_data(tx_data), .tx_ready(tx_ready),
    .x_valid(x_valid), .x(x), .y_valid(y_valid), .y(y_padded));
  network core (.clk(clk), .in_valid(x_valid), .x(x[X_BITS-1:0]), .out_valid(y_valid), .y(y));

  assign busy = tx_valid;
endmodule
