// SPDX-License-Identifier: Apache-2.0
// What usher_bucket promises, with any request in any clock; included in the module.
//
// Forwarding: one set, chosen by the solver, is kept beside as section 8 of the contract has it, one
// request at a time. What the pipeline has in memory and under way is always that, and so is each answer.
//
// Rate, with RATE defined: one bucket of it, chosen by the solver, is watched in a window that begins
// whenever the solver likes. What is let in during any window of t ns is at most
// 1 + (tolerance + t) / interval, as long as the bucket is not evicted in debt, which counts. Here that a
// decision is the contract's is a lemma, as Forwarding has proved it; without it, with RATE_ALONE.

	// ---- the requests, by stages ----

	reg                 p_charge[1:5];
	reg [HASH_BITS-1:0] p_hash[1:3];
	reg [ID-1:0]        p_id[1:3];
	reg [TIME_BITS-1:0] p_now[1:3];
	reg [TIME_BITS-1:0] p_interval[1:3];
	reg [TIME_BITS-1:0] p_tolerance[1:3];
	reg [TIME_BITS-1:0] p_newest;
	integer i;
	always @(posedge clk) begin
		p_charge[1]    <= in_valid && in_charge && !rst;
		p_hash[1]      <= in_hash;
		p_id[1]        <= ID_BITS != 0 ? in_id[ID-1:0] : 0;
		p_now[1]       <= in_now;
		p_interval[1]  <= in_interval;
		p_tolerance[1] <= in_tolerance;
		for (i = 2; i <= 3; i = i + 1) begin
			p_hash[i]      <= p_hash[i-1];
			p_id[i]        <= p_id[i-1];
			p_now[i]       <= p_now[i-1];
			p_interval[i]  <= p_interval[i-1];
			p_tolerance[i] <= p_tolerance[i-1];
		end
		for (i = 2; i <= 5; i = i + 1)
			p_charge[i] <= p_charge[i-1] && !rst;
		p_newest <= rst ? 0 : in_valid ? in_now : p_newest;
	end
	wire [TAG_BITS-1:0] p_tag = p_hash[3][HASH_BITS-1:HASH_BITS-TAG_BITS];
	wire                ours  = p_charge[3] && p_hash[3][SET_BITS-1:0] == followed_set;

	// ---- the set, one request at a time ----

	reg [TAG_BITS-1:0]  m_tag[0:3];
	reg [ID-1:0]        m_id[0:3];
	reg [TIME_BITS-1:0] m_until[0:3];
	reg                 m_hit;
	reg                 m_repeat;
	reg                 m_refused;
	reg                 m_evicted;
	reg [1:0]           m_way;
	reg [TIME_BITS-1:0] m_full;
	integer             w;
	always @* begin
		m_hit = 0;
		m_way = 0;
		for (w = 3; w >= 0; w = w - 1) begin
			if (m_tag[w] == p_tag) begin
				m_hit = 1;
				m_way = w;
			end
		end
		m_repeat = m_hit && p_id[3] != 0 && m_id[m_way] == p_id[3];
		if (!m_hit) begin
			for (w = 1; w < 4; w = w + 1) begin
				if (m_until[w] < m_until[m_way])
					m_way = w;
			end
		end
		m_evicted = !m_hit && m_until[m_way] > p_now[3];
		m_full    = m_hit && m_until[m_way] > p_now[3] ? m_until[m_way] : p_now[3];
		m_refused = !m_repeat && m_full - p_now[3] > p_tolerance[3];
	end
	wire m_write = ours && !m_repeat && !m_refused;
	always @(posedge clk) begin
		for (w = 0; w < 4; w = w + 1) begin
			if (rst) begin
				m_tag[w]   <= 0;
				m_id[w]    <= 0;
				m_until[w] <= 0;
			end else if (m_write && m_way == w) begin
				m_tag[w]   <= p_tag;
				m_id[w]    <= p_id[3];
				m_until[w] <= m_full + p_interval[3];
			end
		end
	end
	wire [4*F_ENTRY-1:0] m_set = {
		m_tag[3], m_id[3], m_until[3], m_tag[2], m_id[2], m_until[2],
		m_tag[1], m_id[1], m_until[1], m_tag[0], m_id[0], m_until[0]};

	initial assume (rst);
	always @* begin
		// The caller waits until the table is zeroed.
		if (in_valid)
			assume (ready && !rst);
	end

`ifndef RATE
	// ---- forwarding ----

	reg [1:0] e_ours;
	reg [1:0] e_refused;
	reg [1:0] e_repeat;
	reg [1:0] e_evicted;
	reg [1:0] e_written;
	always @(posedge clk) begin
		e_ours    <= rst ? 0 : {e_ours[0], ours};
		e_refused <= {e_refused[0], m_refused};
		e_repeat  <= {e_repeat[0], m_repeat};
		e_evicted <= {e_evicted[0], m_evicted};
		e_written <= {e_written[0], m_write};
	end

	always @* begin
		if (!rst) begin
			// The answer, and the decision three clocks before it.
			if (ours)
				a_write : assert (decide_write == m_write);
			if (m_write) begin
				a_way : assert (decide_ways == 4'b1 << m_way);
				a_entry : assert (decide_until == m_full + p_interval[3]);
			end
			if (e_ours[1]) begin
				a_refused : assert (out_refused == e_refused[1]);
				a_repeat : assert (out_repeat == e_repeat[1]);
				a_evicted : assert (out_evicted == e_evicted[1]);
			end
			if (out_valid && !p_charge[5])
				a_passes : assert (!out_refused && !out_repeat && !out_evicted);
			// Memory, with what goes into it now.
			if (zeroed || zero_set > followed_set)
				a_memory : assert (f_memory == m_set);
			// What is under way.
			if (fetch_charge && fetch_set == followed_set)
				a_fetch : assert (f_fetch == m_set);
			if (compare_charge && compare_set == followed_set)
				a_compare : assert (f_compare == m_set);
			if (ours) begin
				for (w = 0; w < 4; w = w + 1) begin
					assert (same_tag[w] == (m_tag[w] == p_tag));
					assert (same_id[w] == (m_id[w] == p_id[3]));
					assert (untils[w*TIME_BITS+:TIME_BITS] == m_until[w]);
				end
			end
			// The requests themselves.
			a_charges : assert ({fetch_charge, compare_charge, decide_charge} ==
				{p_charge[1], p_charge[2], p_charge[3]});
			if (p_charge[1])
				a_fetch_is : assert ({fetch_tag, fetch_set, fetch_id, fetch_now, fetch_interval,
				fetch_tolerance} == {p_hash[1][HASH_BITS-1:HASH_BITS-TAG_BITS],
				p_hash[1][SET_BITS-1:0], p_id[1], p_now[1], p_interval[1], p_tolerance[1]});
			if (p_charge[2])
				a_compare_is : assert ({compare_tag, compare_set, compare_id, compare_now,
				compare_interval} == {p_hash[2][HASH_BITS-1:HASH_BITS-TAG_BITS],
				p_hash[2][SET_BITS-1:0], p_id[2], p_now[2], p_interval[2]});
			if (p_charge[3])
				a_decide_is : assert ({decide_tag, decide_set, decide_id, decide_now, decide_interval} ==
				{p_tag, p_hash[3][SET_BITS-1:0], p_id[3], p_now[3], p_interval[3]});
			if (p_charge[2])
				a_compare_sums : assert (compare_limit == {1'b0, p_now[2]} + {1'b0, p_tolerance[2]} &&
				compare_full == p_now[2] + p_interval[2]);
			if (p_charge[3])
				a_decide_sums : assert (decide_limit == {1'b0, p_now[3]} + {1'b0, p_tolerance[3]} &&
				decide_full == p_now[3] + p_interval[3]);
			a_answers : assert (e_ours[0] ? p_charge[4] && write_refused == e_refused[0] &&
				write_repeat == e_repeat[0] &&
				(write_replaced && write_lost > write_now) == e_evicted[0] : 1'b1);
			a_passing : assert (!write_valid || p_charge[4] || !(write_refused || write_repeat || write_replaced));
			a_is_charge : assert (!e_ours[1] || p_charge[5]);
			// While it zeroes nothing is under way.
			if (!zeroed) begin
				a_empty : assert (!p_charge[1] && !p_charge[2] && !p_charge[3] &&
					write_ways == 0 && done_ways == 0 && m_set == 0);
			end
			// Interesting states are reached: then these fail.
`ifdef REACH_REFUSED
			r_refused : assert (!(e_ours == 3 && e_refused == 2));
`endif
`ifdef REACH_EVICTED
			r_evicted : assert (!(e_ours[1] && e_evicted[1]));
`endif
`ifdef REACH_REPEAT
			r_repeat : assert (!(e_ours[1] && e_repeat[1]));
`endif
		end
	end
`else
	// ---- rate ----

	localparam integer SUM_BITS = TIME_BITS + 3;
	(* anyconst *) reg [TAG_BITS-1:0]  watched_tag;
	(* anyconst *) reg [TIME_BITS-1:0] watched_interval;
	(* anyconst *) reg [TIME_BITS-1:0] watched_tolerance;
	(* anyseq *) reg    begins;
	reg                 open;
	reg [TIME_BITS-1:0] start;
	reg [SUM_BITS-1:0]  let_in; // sum of the intervals of those that were let in
	reg [TIME_BITS-1:0] latest; // the newest time that has decided
	wire                watched = ours && p_tag == watched_tag;
	wire [TIME_BITS-1:0] time_  = p_charge[3] ? p_now[3] : latest;
	wire                in_debt_lost = m_write && !m_hit && m_tag[m_way] == watched_tag && m_evicted;
	always @(posedge clk) begin
		latest <= rst ? 0 : time_;
		if (rst || in_debt_lost) begin
			open <= 0;
		end else if (!open && begins) begin
			// From the next request on; what decides now is before it.
			open   <= 1;
			start  <= time_;
			let_in <= 0;
		end else if (watched && decide_write) begin
			let_in <= let_in + watched_interval;
		end
	end
	wire [SUM_BITS-1:0] due = {3'd0, watched_tolerance} + {3'd0, watched_interval} +
		{3'd0, p_now[3] - start};
	wire [SUM_BITS-1:0] after = let_in + {3'd0, watched_interval};
	// Until when the watched bucket is not full, 0 if there is none.
	reg [TIME_BITS-1:0] its_until;
	always @* begin
		its_until = 0;
		for (w = 3; w >= 0; w = w - 1) begin
			if (m_tag[w] == watched_tag)
				its_until = m_until[w];
		end
	end
	wire [SUM_BITS-1:0] reached = {3'd0, start} + let_in;
	wire [TIME_BITS+1:0] in_sum = {2'd0, in_now} + {2'd0, in_interval} + {2'd0, in_tolerance};
	wire [TIME_BITS+1:0] sum = {2'd0, p_now[3]} + {2'd0, p_interval[3]} + {2'd0, p_tolerance[3]};

	always @* begin
		// The caller's clock does not go back; the watched bucket has one limit, and time does not end.
		// All of a request is told when it decides: that is later than it is said, but no looser.
		if (p_charge[3]) begin
			assume (p_now[3] >= latest);
			if (watched) begin
				assume (p_interval[3] == watched_interval && p_tolerance[3] == watched_tolerance);
				assume (sum[TIME_BITS+1:TIME_BITS] == 0);
			end
		end
`ifndef RATE_ALONE
		if (ours)
			assume (decide_write == m_write);
`endif
		if (!rst) begin
			if (open && watched && decide_write)
				a_rate : assert (after <= due);
`ifndef RATE_ALONE
			if (open) begin
				a_start : assert (start <= latest);
				a_room : assert (let_in[SUM_BITS-1:TIME_BITS+1] == 0);
				a_sum : assert (reached <= (its_until > latest ? {3'd0, its_until} : {3'd0, latest}));
			end
`endif
`ifdef REACH_WINDOW
			r_window : assert (!(open && let_in > {3'd0, watched_interval} && watched_interval > 1 &&
				watched && !decide_write));
`endif
		end
	end
`endif
