module top (
  input wire oscillator,
  input wire rx,
  output wire tx,
  output wire led,
  output wire high0
);
  wire clk;
  EHXPLLL #(
    .CLKI_DIV(1), .CLKFB_DIV(4), .CLKOP_DIV(6), .CLKOP_CPHASE(5),
    .CLKOP_ENABLE("ENABLED"), .FEEDBK_PATH("CLKOP"), .OUTDIVIDER_MUXA("DIVA")
  ) pll (
    .CLKI(oscillator), .CLKFB(clk), .CLKOP(clk), .RST(1'b0), .STDBY(1'b0), .PHASESEL0(1'b0), .PHASESEL1(1'b0),
    .PHASEDIR(1'b0), .PHASESTEP(1'b0), .PHASELOADREG(1'b0), .PLLWAKESYNC(1'b0), .ENCLKOP(1'b1)
  );
  serial_network #(
    .CYCLES_PER_BIT(100),
    .X_BITS(32),
    .Y_BITS(16)
  ) serial (.clk(clk), .rx(rx), .tx(tx), .busy(led));
  assign high0 = 1'b1;
endmodule
