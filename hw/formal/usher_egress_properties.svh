// SPDX-License-Identifier: Apache-2.0
// What usher_egress promises, with any input in any clock; included in the module. Any frame, chosen by the
// solver when its verdict comes, and any beat of it are followed.

	(* anyseq *) reg     follows; // the frame whose verdict comes now
	(* anyseq *) reg     follows_beat; // the beat that is taken now
	reg                  frame; // its verdict is there, and it has not ended
	reg [FRAMES_LOG2:0]  frame_place;
	reg [7:0]            frame_number;
	reg                  frame_pass;
	reg                  frame_mark;
	reg [7:0]            verdict_count; // modulo 256
	reg [7:0]            frame_count; // that ended
	reg                  beat; // it is in the register behind
	reg                  beat_spare; // in its second place
	reg [WIDTH-1:0]      beat_data;
	reg                  held;
	reg [WIDTH-1:0]      held_data;
	reg [7:0]            in_count; // beats of frames that pass
	reg [7:0]            out_count;

	wire                 takes  = s_valid && s_ready;
	wire                 its    = frame && head == frame_place; // it is the followed frame's turn
	wire                 starts = takes && its && frame_pass && follows_beat && !beat;
	wire [FRAMES_LOG2:0] inside = tail - head;
	wire [FRAMES_LOG2:0] place_of = frame_place - head;
	wire [WIDTH-1:0]     m_beat = {m_mark, m_last, m_keep, m_data};
	wire [7:0]           number_of = frame_number - frame_count;
	wire [7:0]           waiting = verdict_count - frame_count;
	wire [7:0]           in_skid = in_count - out_count;

	initial assume (rst);
	always @* begin
		// As many verdicts as there are places, no more.
		if (v_valid)
			assume (inside < 1 << FRAMES_LOG2);
	end
	always @(posedge clk) begin
		if (rst) begin
			frame         <= 0;
			beat          <= 0;
			verdict_count <= 0;
			frame_count   <= 0;
			in_count      <= 0;
			out_count     <= 0;
		end else begin
			if (v_valid) begin
				verdict_count <= verdict_count + 1;
				if (follows && !frame) begin
					frame        <= 1;
					frame_place  <= tail;
					frame_number <= verdict_count;
					frame_pass   <= v_pass;
					frame_mark   <= v_mark;
				end
			end
			if (takes && s_last) begin
				frame_count <= frame_count + 1;
				if (its)
					frame <= 0;
			end
			if (takes && pass)
				in_count <= in_count + 1;
			if (m_valid && m_ready)
				out_count <= out_count + 1;
			// The followed beat: behind one that waits, or at the head.
			if (starts) begin
				beat       <= 1;
				beat_spare <= f_head_full && !m_ready;
				beat_data  <= {frame_mark, s_last, s_keep, s_data};
			end else if (beat && m_valid && m_ready) begin
				beat       <= beat_spare;
				beat_spare <= 0;
			end
		end
		held      <= m_valid && !m_ready && !rst;
		held_data <= m_beat;
	end

	always @* begin
		if (!rst) begin
			// Stable: what was offered and not taken is offered again, unchanged.
			if (held)
				a_stable : assert (m_valid && m_beat == held_data);
			// The followed frame: its own verdict at its turn, and its beats go out, or none of them.
			if (frame) begin
				a_turn : assert (number_of == {{(7-FRAMES_LOG2){1'b0}}, place_of} && place_of < inside);
				a_verdict : assert (verdicts[frame_place[FRAMES_LOG2-1:0]] == {frame_pass, frame_mark});
			end
			if (its) begin
				a_goes : assert ((takes && frame_pass) == (out_valid && room));
				a_ends : assert (passed == (takes && s_last && frame_pass) &&
					discarded == (takes && s_last && !frame_pass));
				a_discards : assert (frame_pass || s_ready);
			end
			// Without a verdict nothing is taken and nothing goes out.
			if (inside == 0)
				a_waits : assert (!s_ready && !(out_valid && room));
			a_waiting : assert (waiting == {{(7-FRAMES_LOG2){1'b0}}, inside} &&
				inside <= 1 << FRAMES_LOG2);
			// Nothing lost, nothing doubled: what went in and is not out is in the register behind.
			a_count : assert (in_skid == {7'd0, f_head_full} + {7'd0, f_spare_full});
			a_order : assert (!f_spare_full || f_head_full);
			if (beat)
				a_beat : assert (beat_spare ? f_spare_full && f_spare == beat_data :
					m_valid && m_beat == beat_data);
`ifdef REACH_FULL
			r_full : assert (!(inside == 1 << FRAMES_LOG2 && beat && beat_spare));
`endif
		end
	end
