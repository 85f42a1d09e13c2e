// SPDX-License-Identifier: Apache-2.0
// What usher_axis_skid promises, over the module itself. Any beat of the stream, chosen by the solver, is
// followed: it comes out as it went in, at its turn, once.
module axis_skid #(
	parameter integer WIDTH = 577
) (
	input wire             clk,
	input wire             rst,
	input wire             s_valid,
	input wire [WIDTH-1:0] s_data,
	input wire             m_ready
);
	wire             s_ready;
	wire             m_valid;
	wire [WIDTH-1:0] m_data;
	wire             f_head_full;
	wire             f_spare_full;
	wire [WIDTH-1:0] f_spare;

	usher_axis_skid #(.WIDTH(WIDTH)) dut (.*);

	(* anyconst *) reg [7:0] followed; // modulo 256; at most two beats are inside
	reg [7:0]       went_in;
	reg [7:0]       came_out;
	reg [WIDTH-1:0] its_data;
	reg             known;
	reg             held_valid;
	reg [WIDTH-1:0] held_data;
	wire [7:0]      inside = went_in - came_out;
	wire [7:0]      its_place = followed - came_out;

	initial assume (rst);
	always @(posedge clk) begin
		if (rst) begin
			went_in    <= 0;
			came_out   <= 0;
			known      <= 0;
			held_valid <= 0;
		end else begin
			if (s_valid && s_ready) begin
				went_in <= went_in + 1;
				if (went_in == followed) begin
					its_data <= s_data;
					known    <= 1;
				end
			end
			if (m_valid && m_ready) begin
				came_out <= came_out + 1;
				if (came_out == followed)
					known <= 0;
			end
			held_valid <= m_valid && !m_ready;
			held_data  <= m_data;
		end
	end

	always @(posedge clk) begin
		if (!rst) begin
			// Stable: what was offered and not taken is offered again, unchanged.
			if (held_valid)
				a_stable : assert (m_valid && m_data == held_data);
			// Nothing lost, nothing doubled: as many are inside as the module says.
			a_count : assert (inside == {7'd0, f_head_full} + {7'd0, f_spare_full});
			a_order : assert (!f_spare_full || f_head_full);
			a_known : assert (known == (its_place < inside));
			if (known)
				a_data : assert (its_data == (its_place == 0 ? m_data : f_spare));
			c_full : cover (f_spare_full && known && its_place == 1);
		end
	end
endmodule
