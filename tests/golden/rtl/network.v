// 6 stages, one sample a cycle.
module network (
  input wire clk,
  input wire in_valid,
  input wire [31:0] x,
  output wire out_valid,
  output wire [15:0] y
);
  reg [5:0] valid = 6'd0;
  always @(posedge clk) valid <= {valid[4:0], in_valid};
  assign out_valid = valid[5];
  wire [7:0] n0 = x[7:0];
  wire [7:0] n1 = x[23:16];
  wire [7:0] n2 = x[31:24];

  // stage 0
  wire [12:0] n3 = {{{1{n2[7]}}, n2}, 4'd0} - {{5{n2[7]}}, n2};
  wire [10:0] n4 = {{{3{n1[7]}}, n1[7:2]} + {{1{n1[7]}}, n1}, n1[1:0]};
  wire [10:0] n5 = {{{1{n0[7]}}, n0}, 2'd0} - {{3{n0[7]}}, n0};
  wire [14:0] n6 = {{{7{n2[7]}}, n2[7:6]} + {{1{n0[7]}}, n0}, n2[5:0]};
  wire [14:0] n7 = {n6[14:1] - {{3{n5[10]}}, n5}, n6[0]};
  wire [12:0] n9 = {n3[12:2] - {{3{n0[7]}}, n0}, n3[1:0]};
  wire [12:0] n10 = n3 + {{2{n4[10]}}, n4};
  reg [12:0] n3_1;
  reg [10:0] n4_1;
  reg [14:0] n7_1;
  reg [12:0] n9_1;
  reg [12:0] n10_1;
  always @(posedge clk) begin
    n3_1 <= n3;
    n4_1 <= n4;
    n7_1 <= n7;
    n9_1 <= n9;
    n10_1 <= n10;
  end

  // stage 1
  wire [15:0] n8 = {{{1{n7_1[14]}}, n7_1[14:2]} - {{1{n3_1[12]}}, n3_1}, n7_1[1:0]};
  wire [13:0] n11 = {{{1{n9_1[12]}}, n9_1[12:2]} - {{1{n4_1[10]}}, n4_1}, n9_1[1:0]};
  wire [15:0] n12 = {n11, 2'd0} - {{3{n10_1[12]}}, n10_1};
  wire [16:0] n18 = {16'd559 + n8, 1'd1};
  reg [15:0] n12_2;
  reg [16:0] n18_2;
  always @(posedge clk) begin
    n12_2 <= n12;
    n18_2 <= n18;
  end

  // stage 2
  wire [15:0] n14 = n12_2 + 16'd1256;
  wire [10:0] n15 = {n14[15:6], n14[5] & |n14[4:0]};
  wire [7:0] n16 = n15[10] ? 8'd0 : (~n15[10] & (|n15[9:8])) ? 8'd255 : n15[7:0];
  wire [11:0] n19 = {n18_2[16:6], n18_2[5] & |n18_2[4:0]};
  wire [7:0] n20 = n19[11] ? 8'd0 : (~n19[11] & (|n19[10:8])) ? 8'd255 : n19[7:0];
  reg [7:0] n16_3;
  reg [7:0] n20_3;
  always @(posedge clk) begin
    n16_3 <= n16;
    n20_3 <= n20;
  end

  // stage 3
  wire [10:0] n21 = {{{1{1'b0}}, n20_3}, 2'd0} - {{3{1'b0}}, n20_3};
  wire [16:0] n22 = {{{6{n21[10]}}, n21[10:5]} - {{1{n21[10]}}, n21}, n21[4:0]};
  wire [11:0] n23 = {{{4{1'b0}}, n16_3[7:3]} + {{1{1'b0}}, n16_3}, n16_3[2:0]};
  wire [15:0] n24 = {{{5{n21[10]}}, n21[10:6]} + {{2{1'b0}}, n20_3}, n21[5:0]};
  reg [16:0] n22_4;
  reg [11:0] n23_4;
  reg [15:0] n24_4;
  always @(posedge clk) begin
    n22_4 <= n22;
    n23_4 <= n23;
    n24_4 <= n24;
  end

  // stage 4
  wire [16:0] n25 = {{{1{n24_4[15]}}, n24_4[15:3]} + {{2{1'b0}}, n23_4}, n24_4[2:0]};
  wire [15:0] n27 = n22_4[15:0] + 16'd5691;
  wire [5:0] n28 = {n27[15:11], n27[10] & |n27[9:0]};
  wire [15:0] n30 = n25[15:0] + 16'd768;
  reg [5:0] n28_5;
  reg [15:0] n30_5;
  always @(posedge clk) begin
    n28_5 <= n28;
    n30_5 <= n30;
  end

  // stage 5
  wire [8:0] n31 = {n30_5[15:8], n30_5[7] & |n30_5[6:0]};
  wire [6:0] n32 = (|n31[8:7]) ? 7'd127 : n31[6:0];
  reg [5:0] n28_6;
  reg [6:0] n32_6;
  always @(posedge clk) begin
    n28_6 <= n28_5;
    n32_6 <= n32;
  end

  assign y[7:0] = {{2{n28_6[5]}}, n28_6};
  assign y[15:8] = {{1{1'b0}}, n32_6};
endmodule
