// SPDX-License-Identifier: Apache-2.0
// Registers an AXI-Stream in both directions: no path from any input to any output, one beat a clock.
// Two beats of room. Proved in hw/formal: what is offered stays as it is until it is taken, and every
// beat that went in comes out once, in order.
module usher_axis_skid #(
	parameter integer WIDTH = 577 // 512 data, 64 keep, 1 last
) (
	input  wire             clk,
	input  wire             rst,
	input  wire             s_valid,
	output wire             s_ready,
	input  wire [WIDTH-1:0] s_data,
	output wire             m_valid,
	input  wire             m_ready,
	output wire [WIDTH-1:0] m_data
`ifdef FORMAL
	,
	// What the proof looks at; yosys reads no names across modules.
	output wire             f_head_full,
	output wire             f_spare_full,
	output wire [WIDTH-1:0] f_spare
`endif
);
	reg             head_full;
	reg             spare_full;
	reg [WIDTH-1:0] head;
	reg [WIDTH-1:0] spare;

	assign s_ready = !spare_full;
	assign m_valid = head_full;
	assign m_data  = head;
`ifdef FORMAL
	assign f_head_full  = head_full;
	assign f_spare_full = spare_full;
	assign f_spare      = spare;
`endif

`ifdef USHER_BUG_SKID
	wire keeps = 1'b0; // planted: the head is replaced though nobody took it
`else
	wire keeps = head_full && !m_ready;
`endif
	wire takes = s_valid && s_ready;

	always @(posedge clk) begin
		if (rst) begin
			head_full  <= 1'b0;
			spare_full <= 1'b0;
		end else if (keeps) begin
			// The head waits: what comes in goes to the spare place.
			if (takes) begin
				spare      <= s_data;
				spare_full <= 1'b1;
			end
		end else begin
			// The head is free or taken now: the older beat goes first.
			head_full  <= spare_full || takes;
			head       <= spare_full ? spare : s_data;
			spare_full <= 1'b0;
		end
	end
endmodule
