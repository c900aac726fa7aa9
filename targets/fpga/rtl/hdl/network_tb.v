// Feeds x.hex to the network, a sample a cycle, and writes what comes out to results.hex.
`timescale 1ns / 1ps
module network_tb;
  parameter SAMPLES = 1;
  parameter X_BITS = 8;
  parameter Y_BITS = 8;

  reg clk = 1'b0;
  reg [X_BITS-1:0] samples [0:SAMPLES-1];
  reg in_valid = 1'b0;
  reg [X_BITS-1:0] x;
  wire out_valid;
  wire [Y_BITS-1:0] y;
  integer given = 0, taken = 0, file;

  network dut (.clk(clk), .in_valid(in_valid), .x(x), .out_valid(out_valid), .y(y));

  initial begin
    $readmemh("x.hex", samples);
    file = $fopen("results.hex", "w");
    forever #5 clk = ~clk;
  end

  always @(negedge clk) begin
    if (out_valid) begin
      $fwrite(file, "%h\n", y);
      taken = taken + 1;
      if (taken == SAMPLES) begin
        $fclose(file);
        $finish;
      end
    end
    if (given < SAMPLES) begin
      x = samples[given];
      in_valid = 1'b1;
      given = given + 1;
    end else begin
      in_valid = 1'b0;
    end
  end
endmodule
