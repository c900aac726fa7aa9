// Sends x.hex over the serial line, byte by byte, and writes the bytes that come back to results.hex.
`timescale 1ns / 1ps
module serial_tb;
  parameter SAMPLES = 1;
  parameter X_BITS = 8;
  parameter Y_BITS = 8;
  localparam CYCLES_PER_BIT = 4;
  localparam X_BYTES = (X_BITS + 7) / 8;
  localparam Y_BYTES = (Y_BITS + 7) / 8;

  reg clk = 1'b0;
  reg [8*X_BYTES-1:0] samples [0:SAMPLES-1];
  wire rx, tx;
  reg send = 1'b0;
  reg [7:0] byte_out;
  wire ready, got;
  wire [7:0] byte_in;
  reg [8*Y_BYTES-1:0] result;
  integer given = 0, part = 0, taken = 0, bytes_in = 0, file;

  uart_transmitter #(.CYCLES_PER_BIT(CYCLES_PER_BIT)) host_out (
    .clk(clk), .valid(send), .data(byte_out), .ready(ready), .line(rx));
  uart_receiver #(.CYCLES_PER_BIT(CYCLES_PER_BIT)) host_in (
    .clk(clk), .line(tx), .valid(got), .data(byte_in));
  serial_network #(.CYCLES_PER_BIT(CYCLES_PER_BIT), .PAUSE_BITS(10), .X_BITS(X_BITS), .Y_BITS(Y_BITS)) dut (
    .clk(clk), .rx(rx), .tx(tx));

  initial begin
    $readmemh("x.hex", samples);
    file = $fopen("results.hex", "w");
    forever #5 clk = ~clk;
  end

  always @(negedge clk) begin
    if (send && !ready) begin  // the byte was taken at the last rising edge
      send = 1'b0;
      part = part + 1;
      if (part == X_BYTES) begin
        part = 0;
        given = given + 1;
      end
    end
    if (!send && ready && given < SAMPLES && given - taken < 8) begin  // the bridge's queue holds 16
      byte_out = samples[given] >> (8 * part);
      send = 1'b1;
    end
    if (got) begin
      result = {byte_in, result} >> 8;
      bytes_in = bytes_in + 1;
      if (bytes_in == Y_BYTES) begin
        bytes_in = 0;
        $fwrite(file, "%h\n", result);
        taken = taken + 1;
        if (taken == SAMPLES) begin
          $fclose(file);
          $finish;
        end
      end
    end
  end
endmodule
