// SPDX-License-Identifier: Apache-2.0
// The 16 policies: 16 words of 32 bits each, as struct ush_admit_policy has them. Each part is read
// where the pipeline needs it, one clock after its address. Not reset: software writes them all.
`default_nettype none

module usher_policies (
	input  wire         clk,
	input  wire         we,
	input  wire [7:0]   we_at, // policy, word
	input  wire [31:0]  we_data,
	input  wire [3:0]   work_at,
	output reg  [63:0]  work_salt,
	output reg  [31:0]  work_bits,
	input  wire [3:0]   source_at,
	input  wire         source_hold, // the limit of holds instead
	output reg  [127:0] source_limit, // tolerance_ns, interval_ns
	input  wire [3:0]   user_at,
	output reg  [127:0] user_limit
);
	// One memory a word: a write changes 32 bits, a read takes all of a limit.
	reg [31:0] word0  [0:15];
	reg [31:0] word1  [0:15];
	reg [31:0] word2  [0:15];
	reg [31:0] word3  [0:15];
	reg [31:0] word4  [0:15];
	reg [31:0] word5  [0:15];
	reg [31:0] word6  [0:15];
	reg [31:0] word7  [0:15];
	reg [31:0] word8  [0:15];
	reg [31:0] word9  [0:15];
	reg [31:0] word10 [0:15];
	reg [31:0] word11 [0:15];
	reg [31:0] word12 [0:15];
	reg [31:0] word13 [0:15];
	reg [31:0] word14 [0:15];

	wire [3:0] at = we_at[7:4];

	always @(posedge clk) begin
		if (we) begin
			case (we_at[3:0])
			4'd0:    word0[at]  <= we_data;
			4'd1:    word1[at]  <= we_data;
			4'd2:    word2[at]  <= we_data;
			4'd3:    word3[at]  <= we_data;
			4'd4:    word4[at]  <= we_data;
			4'd5:    word5[at]  <= we_data;
			4'd6:    word6[at]  <= we_data;
			4'd7:    word7[at]  <= we_data;
			4'd8:    word8[at]  <= we_data;
			4'd9:    word9[at]  <= we_data;
			4'd10:   word10[at] <= we_data;
			4'd11:   word11[at] <= we_data;
			4'd12:   word12[at] <= we_data;
			4'd13:   word13[at] <= we_data;
			4'd14:   word14[at] <= we_data;
			default: ; // reserved
			endcase
		end
		source_limit <= source_hold ? {word7[source_at], word6[source_at], word5[source_at],
					       word4[source_at]}
					    : {word3[source_at], word2[source_at], word1[source_at],
					       word0[source_at]};
		user_limit   <= {word11[user_at], word10[user_at], word9[user_at], word8[user_at]};
		work_salt    <= {word13[work_at], word12[work_at]};
		work_bits    <= word14[work_at];
	end
endmodule

`default_nettype wire
