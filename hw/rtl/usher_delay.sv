// SPDX-License-Identifier: Apache-2.0
// q is d CYCLES clocks later. A ring in memory, not a chain of registers: nothing is reset, so a valid
// bit does not belong in it.
`default_nettype none

module usher_delay #(
	parameter integer WIDTH  = 64,
	parameter integer CYCLES = 4 // at least 3
) (
	input  wire             clk,
	input  wire             rst,
	input  wire [WIDTH-1:0] d,
	output reg  [WIDTH-1:0] q
);
	localparam integer AT_BITS = $clog2(CYCLES - 1);
	localparam [AT_BITS-1:0] LAST = AT_BITS'(CYCLES - 2);

	reg [WIDTH-1:0]   ring [0:CYCLES-2];
	reg [AT_BITS-1:0] at;

	always @(posedge clk) begin
		// The place holds what was written CYCLES - 1 clocks ago.
		q        <= ring[at];
		ring[at] <= d;
		at       <= rst || at == LAST ? '0 : at + 1'b1;
	end
endmodule

`default_nettype wire
