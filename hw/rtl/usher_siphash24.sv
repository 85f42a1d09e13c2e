// SPDX-License-Identifier: Apache-2.0
// SipHash-2-4 of 16 or 24 bytes, one message a clock. Word 0 of the message is in_words[63:0], its bytes
// little-endian; the result is the 64-bit integer of docs/admission.md, section 1.
//
// LATENCY = (2 x (WORDS + 1) + 4) x (HALF ? 2 : 1) clocks. No back-pressure. Only the valid bit is reset.
// HALF = 1 puts one addition and one exclusive-or between registers, HALF = 0 two of each.

`default_nettype none

module usher_siphash24 #(
	parameter integer WORDS = 3,
	parameter integer HALF  = 0
) (
	input  wire                clk,
	input  wire                rst,
	input  wire                in_valid,
	input  wire [127:0]        in_key,
	input  wire [64*WORDS-1:0] in_words,
	output wire                out_valid,
	output wire [63:0]         out_tag
);
	localparam integer ROUNDS = 2 * (WORDS + 1) + 4;
	localparam integer STAGES = HALF != 0 ? 2 * ROUNDS : ROUNDS;
	localparam integer BITS   = 64 * (WORDS + 1);
	// What is hashed: the words, then the length in the topmost byte of one more.
	localparam integer LENGTH = 8 * WORDS;

	// The state before stage s, and the words of the message that are still needed there.
	wire [63:0]     v0[0:STAGES];
	wire [63:0]     v1[0:STAGES];
	wire [63:0]     v2[0:STAGES];
	wire [63:0]     v3[0:STAGES];
	wire [BITS-1:0] words[0:STAGES];
	reg  [STAGES:1] valid;

	assign words[0] = {LENGTH[7:0], 56'd0, in_words};
	assign v0[0]    = in_key[63:0] ^ 64'h736f6d6570736575;
	assign v1[0]    = in_key[127:64] ^ 64'h646f72616e646f6d;
	assign v2[0]    = in_key[63:0] ^ 64'h6c7967656e657261;
	assign v3[0]    = in_key[127:64] ^ 64'h7465646279746573 ^ in_words[63:0];

	always @(posedge clk)
		valid <= rst ? '0 : {valid[STAGES-1:1], in_valid};
	assign out_valid = valid[STAGES];

	generate
		for (genvar s = 0; s < STAGES; s = s + 1) begin : g_stage
			localparam integer ROUND = HALF != 0 ? s / 2 : s;
			localparam bit     FIRST = HALF == 0 || s % 2 == 0;
			localparam bit     LAST  = HALF == 0 || s % 2 == 1;
			// Behind the second round of a word it goes into v0, and the next one into v3; behind the
			// last word v2 is marked.
			localparam bit     WORD_ENDS = LAST && ROUND % 2 == 1 && ROUND / 2 <= WORDS;
			localparam bit     ALL_IN    = LAST && ROUND == 2 * WORDS + 1;

			// A stage that holds no message stands still: less to toggle, and less to simulate.
			wire goes;
			if (s == 0) begin : g_in
				assign goes = in_valid;
			end else begin : g_held
				assign goes = valid[s];
			end

			// First half of a round.
			wire [63:0] a0, a1, a2, a3;
			if (FIRST) begin : g_first
				wire [63:0] sum0 = v0[s] + v1[s];
				wire [63:0] sum2 = v2[s] + v3[s];
				assign a0 = {sum0[31:0], sum0[63:32]};
				assign a1 = {v1[s][50:0], v1[s][63:51]} ^ sum0;
				assign a2 = sum2;
				assign a3 = {v3[s][47:0], v3[s][63:48]} ^ sum2;
			end else begin : g_no_first
				assign {a0, a1, a2, a3} = {v0[s], v1[s], v2[s], v3[s]};
			end
			// Second half.
			wire [63:0] b0, b1, b2, b3;
			if (LAST) begin : g_last
				wire [63:0] sum0 = a0 + a3;
				wire [63:0] sum2 = a2 + a1;
				assign b0 = sum0;
				assign b1 = {a1[46:0], a1[63:47]} ^ sum2;
				assign b2 = {sum2[31:0], sum2[63:32]};
				assign b3 = {a3[42:0], a3[63:43]} ^ sum0;
			end else begin : g_no_last
				assign {b0, b1, b2, b3} = {a0, a1, a2, a3};
			end

			if (s == STAGES - 1) begin : g_out
				// The result needs one word of the four.
				reg [63:0] tag;
				always @(posedge clk)
					if (goes) tag <= b0 ^ b1 ^ b2 ^ b3;
				assign out_tag = tag;
				assign {v0[s+1], v1[s+1], v2[s+1], v3[s+1]} = '0;
				assign words[s+1] = '0;
			end else begin : g_register
				wire [63:0] next = WORD_ENDS && !ALL_IN ? words[s][127:64] : 64'd0;
				reg  [63:0] r0, r1, r2, r3;
				always @(posedge clk) if (goes) begin
					r0 <= WORD_ENDS ? b0 ^ words[s][63:0] : b0;
					r1 <= b1;
					r2 <= ALL_IN ? b2 ^ 64'hff : b2;
					r3 <= b3 ^ next;
				end
				assign {v0[s+1], v1[s+1], v2[s+1], v3[s+1]} = {r0, r1, r2, r3};
				if (ALL_IN || ROUND > 2 * WORDS + 1) begin : g_no_words
					assign words[s+1] = '0;
				end else begin : g_words
					reg [BITS-1:0] later;
					always @(posedge clk)
						if (goes) later <= WORD_ENDS ? {64'd0, words[s][BITS-1:64]} : words[s];
					assign words[s+1] = later;
				end
			end
		end
	endgenerate
endmodule

`default_nettype wire
