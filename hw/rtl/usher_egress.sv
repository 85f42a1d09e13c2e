// SPDX-License-Identifier: Apache-2.0
// Lets frames out or discards them, each by its verdict. Verdicts come in the order of frames and are
// never refused: there are 2^FRAMES_LOG2 places, as many as the FIFO of frames has beats.
//
// A frame waits for its verdict. A beat that is let out goes through usher_axis_skid: offered until it is
// taken, in order, once. A frame that is discarded costs one clock a beat and needs no m_ready.

`default_nettype none

module usher_egress #(
	parameter integer FRAMES_LOG2 = 7,
	// Smaller ones are for proofs.
	parameter integer DATA_BITS   = 512,
	parameter integer KEEP_BITS   = 64
) (
	input  wire                 clk,
	input  wire                 rst,
	input  wire                 v_valid,
	input  wire                 v_pass,
	input  wire                 v_mark,
	input  wire                 s_valid,
	output wire                 s_ready,
	input  wire [DATA_BITS-1:0] s_data,
	input  wire [KEEP_BITS-1:0] s_keep,
	input  wire                 s_last,
	output wire                 m_valid,
	input  wire                 m_ready,
	output wire [DATA_BITS-1:0] m_data,
	output wire [KEEP_BITS-1:0] m_keep,
	output wire                 m_last,
	output wire                 m_mark,
	output wire                 passed,
	output wire                 discarded
);
	localparam integer WIDTH = DATA_BITS + KEEP_BITS + 2;

	// ---- verdicts ----

	// Two bits each: so few that they are registers or LUT memory, read at once.
	reg [1:0]           verdicts[0:(1<<FRAMES_LOG2)-1];
	reg [FRAMES_LOG2:0] head;
	reg [FRAMES_LOG2:0] tail;
	wire                known = head != tail;
	wire                pass;
	wire                mark;
	wire                frame_ends;

	assign {pass, mark} = verdicts[head[FRAMES_LOG2-1:0]];
	always @(posedge clk) begin
		if (v_valid)
			verdicts[tail[FRAMES_LOG2-1:0]] <= {v_pass, v_mark};
		if (rst) begin
			head <= '0;
			tail <= '0;
		end else begin
			tail <= tail + {{FRAMES_LOG2{1'b0}}, v_valid};
			head <= head + {{FRAMES_LOG2{1'b0}}, frame_ends};
		end
	end

	// ---- frames ----

	wire room;
`ifdef FORMAL
	wire             f_head_full;
	wire             f_spare_full;
	wire [WIDTH-1:0] f_spare;
`endif
	assign s_ready    = known && (room || !pass);
	assign frame_ends = s_valid && s_ready && s_last;
	assign passed     = frame_ends && pass;
	assign discarded  = frame_ends && !pass;

`ifdef USHER_BUG_EGRESS
	wire out_valid = s_valid && known; // planted: what is discarded goes out if there is room
`else
	wire out_valid = s_valid && known && pass;
`endif
	usher_axis_skid #(.WIDTH(WIDTH)) skid (
		.clk,
		.rst,
		.s_valid(out_valid),
		.s_ready(room),
		.s_data({mark, s_last, s_keep, s_data}),
		.m_valid,
		.m_ready,
`ifdef FORMAL
		.f_head_full,
		.f_spare_full,
		.f_spare,
`endif
		.m_data({m_mark, m_last, m_keep, m_data})
	);

`ifdef FORMAL
`include "usher_egress_properties.svh"
`endif
endmodule

`default_nettype wire
