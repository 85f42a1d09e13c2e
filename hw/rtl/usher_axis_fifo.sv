// SPDX-License-Identifier: Apache-2.0
// Frames from a MAC, which cannot wait: each is kept whole or dropped whole, and counted as one of four.
// What comes out are the frames that were kept, whole, in order, each beat as it went in.
//
// In the clock after a frame's last beat exactly one of these is 1:
//   drop_error  the MAC marked it as broken
//   drop_long   it has more than BEATS_MAX beats
//   drop_full   no room, or it began while enable was 0
//   kept        it is in the FIFO
//
// A beat of a frame that is dropped takes no room. 2^DEPTH_LOG2 beats; BEATS_MAX is not above that.

`default_nettype none

module usher_axis_fifo #(
	parameter integer DEPTH_LOG2 = 7,
	parameter integer BEATS_MAX  = 24,
	// Smaller ones are for proofs.
	parameter integer DATA_BITS  = 512,
	parameter integer KEEP_BITS  = 64
) (
	input  wire                 clk,
	input  wire                 rst,
	input  wire                 enable,
	input  wire                 s_valid,
	input  wire [DATA_BITS-1:0] s_data,
	input  wire [KEEP_BITS-1:0] s_keep,
	input  wire                 s_last,
	input  wire                 s_error,
	output wire                 kept,
	output wire                 drop_full,
	output wire                 drop_long,
	output wire                 drop_error,
	output wire                 m_valid,
	input  wire                 m_ready,
	output wire [DATA_BITS-1:0] m_data,
	output wire [KEEP_BITS-1:0] m_keep,
	output wire                 m_last
);
	localparam integer WIDTH = DATA_BITS + KEEP_BITS + 1;
	// Beats of a frame, up to BEATS_MAX + 1.
	localparam integer COUNT_BITS = $clog2(BEATS_MAX + 2);
	localparam [COUNT_BITS-1:0] TOO_MANY = COUNT_BITS'(BEATS_MAX);

	// Places of beats, with one bit more than addresses: head is read next, all before kept_to are whole
	// frames, tail is written next.
	reg [DEPTH_LOG2:0] head;
	reg [DEPTH_LOG2:0] kept_to;
	reg [DEPTH_LOG2:0] tail;

`ifdef FORMAL
	// The proof follows a beat.
	reg [DEPTH_LOG2:0] followed_place;
	wire [WIDTH-1:0]   f_data;
`endif

	// ---- in ----

	reg                  first; // the next beat begins a frame
	reg                  no_room; // a beat of this frame found none
	reg [COUNT_BITS-1:0] beats; // of this frame so far

	wire [DEPTH_LOG2:0] used     = tail - head;
	wire                full     = used[DEPTH_LOG2];
	wire                is_long  = beats == TOO_MANY;
	wire                refused  = first ? !enable || full : no_room || full;
	wire                take     = s_valid && !refused && !is_long;
	wire                ends     = s_valid && s_last;
`ifdef USHER_BUG_FIFO
	wire                good     = !is_long && !refused; // planted: what is broken is kept
`else
	wire                good     = !s_error && !is_long && !refused;
`endif

	reg out_kept;
	reg out_full;
	reg out_long;
	reg out_error;
	always @(posedge clk) begin
		if (rst) begin
			tail    <= '0;
			kept_to <= '0;
			first   <= 1'b1;
			no_room <= 1'b0;
			beats   <= '0;
		end else if (s_valid) begin
			first   <= s_last;
			no_room <= !s_last && refused;
			beats   <= s_last ? '0 : is_long ? beats : beats + 1'b1;
			if (s_last && !good) begin
				tail <= kept_to;
			end else begin
				tail <= tail + {{DEPTH_LOG2{1'b0}}, take};
				if (s_last)
					kept_to <= tail + 1'b1;
			end
		end
		out_error <= ends && !rst && s_error;
		out_long  <= ends && !rst && !s_error && is_long;
		out_full  <= ends && !rst && !s_error && !is_long && refused;
		out_kept  <= ends && !rst && good;
	end
	assign kept       = out_kept;
	assign drop_full  = out_full;
	assign drop_long  = out_long;
	assign drop_error = out_error;

	// ---- out ----

	reg  valid;
	wire read = head != kept_to && (!valid || m_ready);
	always @(posedge clk) begin
		if (rst) begin
			head  <= '0;
			valid <= 1'b0;
		end else if (read) begin
			head  <= head + 1'b1;
			valid <= 1'b1;
		end else if (m_ready) begin
			valid <= 1'b0;
		end
	end
	assign m_valid = valid;

	usher_ram #(.WIDTH(WIDTH), .ADDRESS_BITS(DEPTH_LOG2)) ram (
		.clk,
		.write_enable(take),
		.write_address(tail[DEPTH_LOG2-1:0]),
		.write_data({s_last, s_keep, s_data}),
		.read_enable(read),
		.read_address(head[DEPTH_LOG2-1:0]),
`ifdef FORMAL
		.f_address(followed_place[DEPTH_LOG2-1:0]),
		.f_data,
`endif
		.out_data({m_last, m_keep, m_data})
	);

`ifdef FORMAL
`include "usher_axis_fifo_properties.svh"
`endif
endmodule

`default_nettype wire
