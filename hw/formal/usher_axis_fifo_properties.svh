// SPDX-License-Identifier: Apache-2.0
// What usher_axis_fifo promises, with any input in any clock; included in the module. Any beat that is
// taken in, chosen by the solver, is followed until it is out or its frame is dropped.

	localparam integer LIMIT = BEATS_MAX;
	(* anyseq *) reg   follows; // the beat that comes in now is followed
	reg                followed; // it is inside
	reg                followed_kept; // its frame is
	reg                followed_out; // it is offered
	reg [WIDTH-1:0]    followed_beat;
	reg [7:0]          followed_number; // beats of kept frames before it, modulo 256
	reg [7:0]          kept_beats; // of frames that ended, modulo 256
	reg [7:0]          out_beats;
	reg [7:0]          frame_beats; // of this frame so far, up to LIMIT + 1
	reg                missed; // one of them found no room, or the frame was not wanted
	reg                held;
	reg [WIDTH-1:0]    held_beat;
	reg                ended;
	reg                ended_error;
	reg                ended_long;
	reg                ended_missed;

	wire               no_place = used == 1 << DEPTH_LOG2;
	wire               misses   = missed || no_place || (frame_beats == 0 && !enable);
	wire               too_long = frame_beats >= LIMIT;
	wire [7:0]         stored   = {{(7-DEPTH_LOG2){1'b0}}, tail - kept_to};
	wire               starts   = s_valid && follows && !followed && !misses && !too_long;
	wire               keeps    = s_valid && s_last && !s_error && !too_long && !misses;
	wire               taken    = m_valid && m_ready;
	wire [WIDTH-1:0]   m_beat   = {m_last, m_keep, m_data};

	initial assume (rst);
	always @(posedge clk) begin
		if (rst) begin
			followed    <= 0;
			kept_beats  <= 0;
			out_beats   <= 0;
			frame_beats <= 0;
			missed      <= 0;
		end else begin
			if (s_valid) begin
				frame_beats <= s_last ? 0 : frame_beats > LIMIT ? frame_beats : frame_beats + 1;
				missed      <= misses && !s_last;
			end
			if (keeps)
				kept_beats <= kept_beats + frame_beats + 1;
			if (taken)
				out_beats <= out_beats + 1;
			// The followed one.
			if (starts) begin
				followed        <= !s_last || keeps;
				followed_kept   <= keeps;
				followed_out    <= 0;
				followed_beat   <= {s_last, s_keep, s_data};
				followed_place  <= tail;
				followed_number <= kept_beats + frame_beats;
			end else if (followed) begin
				if (s_valid && s_last && !followed_kept) begin
					followed      <= keeps;
					followed_kept <= keeps;
				end
				if (followed_kept && !followed_out && read && head == followed_place)
					followed_out <= 1;
				if (followed_out && taken)
					followed <= 0;
			end
		end
		held         <= m_valid && !m_ready && !rst;
		held_beat    <= m_beat;
		ended        <= s_valid && s_last && !rst;
		ended_error  <= s_error;
		ended_long   <= too_long;
		ended_missed <= misses;
	end

	wire [DEPTH_LOG2:0] place_of = followed_place - head;
	wire [DEPTH_LOG2:0] whole    = kept_to - head;
	wire [7:0]          number_of = followed_number - out_beats;
	wire [7:0]          offered_beats = {7'd0, m_valid};
	always @* begin
		if (!rst) begin
			// Stable: what was offered and not taken is offered again, unchanged.
			if (held)
				a_stable : assert (m_valid && m_beat == held_beat);
			// Each frame is one of four, and it is known which.
			a_error : assert (drop_error == (ended && ended_error));
			a_long : assert (drop_long == (ended && !ended_error && ended_long));
			a_full : assert (drop_full == (ended && !ended_error && !ended_long && ended_missed));
			a_kept : assert (kept == (ended && !ended_error && !ended_long && !ended_missed));
			// The followed beat: unchanged, at its turn, once; nothing of a dropped frame comes out.
			if (followed && followed_out)
				a_out : assert (followed_kept && m_valid && m_beat == followed_beat &&
					number_of == 0);
			if (followed && !followed_out) begin
				a_stored : assert (f_data == followed_beat);
				a_turn : assert (number_of == {{(7-DEPTH_LOG2){1'b0}}, place_of} + offered_beats);
				a_where : assert (followed_kept ? place_of < whole :
					place_of >= whole && place_of < used);
			end
			// What is inside, by the module and by what went in and out.
			a_inside : assert (kept_beats - out_beats ==
				{{(7-DEPTH_LOG2){1'b0}}, whole} + offered_beats);
			a_used : assert (whole <= used && used <= 1 << DEPTH_LOG2);
			a_beats : assert (beats == (frame_beats > LIMIT ? LIMIT : frame_beats) &&
				frame_beats <= LIMIT + 1 && first == (frame_beats == 0));
			a_missed : assert (no_room == missed && (!missed || frame_beats != 0));
			a_part : assert (missed ? stored < frame_beats && stored <= LIMIT :
				stored == (frame_beats > LIMIT ? LIMIT : frame_beats));
`ifdef REACH_WRAP
			r_wrap : assert (!(followed && followed_out && out_beats > 4 && no_place));
`endif
`ifdef REACH_FULL
			r_full : assert (!(drop_full && ended_missed && used == 0));
`endif
		end
	end
