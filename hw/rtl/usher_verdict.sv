// SPDX-License-Identifier: Apache-2.0
// Section 7 of docs/admission.md but for the MAC: the checks in their order, from the parser's output
// to one verdict a frame, LATENCY clocks later.
//
//   clock 0           parsed; token's key chosen
//         1           event's byte; hashes of token and address start
//         2           verdict before tags; hashes of work and user start
//         T = 1 + LH  token's tag is there                     (LH: LATENCY of three words)
//         T + 1       bucket of the address                    (LB: 5)
//         T + 1 + LB  work, bucket of the user
//         T + 2 + 2LB verdict
//
// Two messages share each hash pipeline. A frame that starts one has at least two beats, and three
// where it starts a token or a work, so the clock after it is free for the second.
`default_nettype none

module usher_verdict #(
	parameter integer HALF            = 0,
	parameter integer SOURCE_SET_BITS = 9,
	parameter integer USER_SET_BITS   = 9
) (
	input  wire         clk,
	input  wire         rst,
	output wire         ready,

	input  wire         p_valid,
	input  wire [7:0]   p_verdict,
	input  wire [2:0]   p_class,
	input  wire         p_box,
	input  wire [31:0]  p_event,
	input  wire [31:0]  p_id,
	input  wire [63:0]  p_user,
	input  wire [63:0]  p_source,
	input  wire         p_ipv4,
	input  wire         p_has_token,
	input  wire [255:0] p_token,
	input  wire         p_has_work,
	input  wire [159:0] p_work, // from byte 4 on
	// Of event p_event[15:0], one clock later.
	input  wire [6:0]   event_byte,

	input  wire [63:0]  now,
	input  wire         bypass,
	input  wire [7:0]   checks,
	input  wire [7:0]   load_bits,
	input  wire [63:0]  work_window,
	input  wire [127:0] table_key,
	input  wire [127:0] token_key_0,
	input  wire [127:0] token_key_1,
	input  wire [8:0]   token_id_0, // live, id
	input  wire [8:0]   token_id_1,
	input  wire         policy_we,
	input  wire [7:0]   policy_at,
	input  wire [31:0]  policy_data,

	output reg          v_valid,
	output reg  [7:0]   v_verdict,
	output reg          v_pass,
	output reg          v_mark, // the user's last request again
	output reg          v_bypassed,
	output reg  [63:0]  v_now,
	output wire         source_evicted,
	output wire         user_evicted
);
	localparam integer LH2    = (HALF != 0) ? 20 : 10;
	localparam integer LH3    = (HALF != 0) ? 24 : 12;
	localparam integer LB     = 5;
	localparam integer T      = 1 + LH3;
	localparam integer STAGES = T + 2 + 2*LB;

	localparam [63:0] KIND_IPV4 = 64'd4;
	localparam [63:0] KIND_IPV6 = 64'd6;
	localparam [63:0] KIND_HOLD = 64'd16;
	localparam [31:0] USER_KIND = 32'd1;

	localparam [7:0] PASS = usher_wire_pkg::VerdictPass;

	// Which stages hold a frame: bit i is clock i, as counted above.
	reg [STAGES-1:1] valid;
	always @(posedge clk) valid <= rst ? '0 : {valid[STAGES-2:1], p_valid};

	// ---- clock 0: comparisons, and the token's key ----

	wire [7:0]  token_id     = p_token[47:40];
	wire [15:0] token_event  = p_token[63:48];
	wire [63:0] token_user   = p_token[127:64];
	wire [63:0] token_expiry = p_token[191:128];
	wire        token_hit_0  = token_id_0 == {1'b1, token_id};
	wire        token_hit_1  = token_id_1 == {1'b1, token_id};
	wire [63:0] work_time    = p_work[95:32];

	reg         judge1;
	reg [7:0]   verdict1;
	reg [2:0]   class1;
	reg         box1;
	reg [31:0]  event1;
	reg [31:0]  id1;
	reg [63:0]  user1;
	reg [63:0]  source1;
	reg         ipv4_1;
	reg [63:0]  now1;
	reg         has_token1;
	reg         token_known1;
	reg         token_event1;
	reg         token_user1;
	reg         token_alive1;
	reg [127:0] token_key1;
	reg [191:0] token_words1;
	reg [63:0]  token_tag1;
	reg         has_work1;
	reg [31:0]  difficulty1;
	reg [127:0] work_words1;
	reg [63:0]  work_distance1;

	always @(posedge clk) begin
		judge1         <= !bypass;
		verdict1       <= p_verdict;
		class1         <= p_class;
		box1           <= p_box;
		event1         <= p_event;
		id1            <= p_id;
		user1          <= p_user;
		source1        <= p_source;
		ipv4_1         <= p_ipv4;
		now1           <= now;
		has_token1     <= p_has_token;
		token_known1   <= token_hit_0 || token_hit_1;
		token_event1   <= {16'd0, token_event} == p_event;
		token_user1    <= token_user == p_user;
		token_alive1   <= now < token_expiry;
		token_key1     <= token_hit_0 ? token_key_0 : token_key_1;
		token_words1   <= p_token[191:0];
		token_tag1     <= p_token[255:192];
		has_work1      <= p_has_work;
		difficulty1    <= p_work[31:0];
		work_words1    <= p_work[159:32];
		work_distance1 <= work_time >= now ? work_time - now : now - work_time;
	end

	// ---- clock 1: all that needs no tag and no table ----

	wire [6:0] byte1     = event1[31:16] != 16'd0 ? 7'd0 : event_byte;
	wire       request1  = judge1 && verdict1 == PASS;
	wire       new_hold1 = class1 == usher_wire_pkg::OpClassNewHold[2:0];
	wire       join1     = class1 == usher_wire_pkg::OpClassJoin[2:0];
	wire       hold1     = class1 == usher_wire_pkg::OpClassHold[2:0];
	// The masks of enum admission_check are one bit each.
	wire       check_event1  = |(checks & usher_wire_pkg::AdmissionCheckEvent);
	wire       check_open1   = |(checks & usher_wire_pkg::AdmissionCheckOpen);
	wire       check_sold1   = |(checks & usher_wire_pkg::AdmissionCheckSoldOut);
	wire       check_token1  = |(checks & usher_wire_pkg::AdmissionCheckToken);
	wire       check_source1 = |(checks & usher_wire_pkg::AdmissionCheckSource);
	wire       check_work1   = |(checks & usher_wire_pkg::AdmissionCheckWork);
	wire       check_user1   = |(checks & usher_wire_pkg::AdmissionCheckUser);
	wire       wants_token1  = request1 && new_hold1 && check_token1;

	reg [7:0] next1;
	always @* begin
		next1 = PASS;
		if (wants_token1) begin
			if (!has_token1)        next1 = usher_wire_pkg::VerdictTokenMissing;
			else if (!token_known1) next1 = usher_wire_pkg::VerdictTokenKey;
			else if (!token_event1) next1 = usher_wire_pkg::VerdictTokenEvent;
			else if (!token_user1)  next1 = usher_wire_pkg::VerdictTokenUser;
			else if (!token_alive1) next1 = usher_wire_pkg::VerdictTokenExpired;
		end
		// Earlier checks win.
		if (request1 && new_hold1) begin
			if (check_sold1 && byte1[6])  next1 = usher_wire_pkg::VerdictEventSoldOut;
			if (check_open1 && !byte1[5]) next1 = usher_wire_pkg::VerdictEventClosed;
		end
		if (request1 && !box1 && check_event1 && !byte1[4])
			next1 = usher_wire_pkg::VerdictEventUnknown;
		if (judge1 && verdict1 != PASS)
			next1 = verdict1;
	end

	wire         starts_token1 = valid[1] && wants_token1 && has_token1;
	wire         starts_source1 = valid[1] && request1 && check_source1;
	wire [63:0]  kind1         = (ipv4_1 ? KIND_IPV4 : KIND_IPV6) | (hold1 ? KIND_HOLD : 64'd0);

	reg         judge2;
	reg [7:0]   verdict2;
	reg         token2;     // a tag to be compared
	reg         source2;    // a bucket to be charged
	reg         source_hold2;
	reg         user_rate2;
	reg         has_work2;
	reg         may_work2;
	reg         work_far2;
	reg [3:0]   policy2;
	reg [31:0]  event2;
	reg [31:0]  id2;
	reg [63:0]  user2;
	reg [63:0]  now2;
	reg [63:0]  token_tag2;
	reg [31:0]  difficulty2;
	reg [127:0] work_words2;

	always @(posedge clk) begin
		judge2       <= judge1;
		verdict2     <= next1;
		token2       <= wants_token1;
		source2      <= request1 && check_source1;
		source_hold2 <= hold1;
		user_rate2   <= request1 && new_hold1 && check_user1;
		has_work2    <= has_work1;
		may_work2    <= request1 && check_work1 && (new_hold1 || join1);
		work_far2    <= work_distance1 > work_window;
		policy2      <= byte1[3:0];
		event2       <= event1;
		id2          <= id1;
		user2        <= user1;
		now2         <= now1;
		token_tag2   <= token_tag1;
		difficulty2  <= difficulty1;
		work_words2  <= work_words1;
	end

	// ---- clock 2: what work is demanded ----

	wire [63:0]  work_salt2;
	wire [31:0]  work_bits2;
	wire [32:0]  work_sum2 = {1'b0, work_bits2} + {25'd0, load_bits};
	wire [5:0]   demanded2 = !may_work2 || work_bits2 == 32'd0 ? 6'd0
			       : work_sum2 > 33'(usher_wire_pkg::AdmitWorkBitsMax)
			       ? usher_wire_pkg::AdmitWorkBitsMax[5:0] : work_sum2[5:0];
	reg  [7:0]   work2;
	always @* begin
		work2 = PASS;
		if (demanded2 != 6'd0) begin
			if (!has_work2)                         work2 = usher_wire_pkg::VerdictWorkMissing;
			else if (difficulty2 < 32'(demanded2))  work2 = usher_wire_pkg::VerdictWorkLow;
			else if (work_far2)                     work2 = usher_wire_pkg::VerdictWorkTime;
		end
	end
	wire starts_work2 = valid[2] && may_work2 && has_work2;
	wire starts_user2 = valid[2] && user_rate2;

	// ---- hashes ----

	wire         hash3_out;
	wire [63:0]  hash3_tag;
	usher_siphash24 #(.WORDS(3), .HALF(HALF)) tags (
		.clk(clk), .rst(rst),
		.in_valid(starts_token1 || starts_work2),
		.in_key(starts_work2 ? {work_salt2, user2} : token_key1),
		.in_words(starts_work2 ? {work_words2[127:64], work_words2[63:0], id2, event2} : token_words1),
		.out_valid(hash3_out), .out_tag(hash3_tag));

	wire [63:0]  hash2_tag;
	wire         unused_valid; // what was started is what is waited for
	usher_siphash24 #(.WORDS(2), .HALF(HALF)) places (
		.clk(clk), .rst(rst),
		.in_valid(starts_source1 || starts_user2),
		.in_key(table_key),
		.in_words(starts_user2 ? {USER_KIND, event2, user2} : {kind1, source1}),
		.out_valid(unused_valid), .out_tag(hash2_tag));

	// ---- clocks 2 to T: waiting for tags ----

	localparam integer WAIT_BITS = 1 + 8 + 1 + 1 + 1 + 1 + 4 + 6 + 8 + 32 + 64 + 64;
	wire         judge_t;
	wire [7:0]   verdict_t;
	wire         token_t;
	wire         source_t;
	wire         source_hold_t;
	wire         user_rate_t;
	wire [3:0]   policy_t;
	wire [5:0]   demanded_t;
	wire [7:0]   work_t;
	wire [31:0]  id_t;
	wire [63:0]  now_t;
	wire [63:0]  token_tag_t;
	usher_delay #(.WIDTH(WAIT_BITS), .CYCLES(T - 2)) waiting (
		.clk(clk), .rst(rst),
		.d({judge2, verdict2, token2, source2, source_hold2, user_rate2, policy2, demanded2,
		    work2, id2, now2, token_tag2}),
		.q({judge_t, verdict_t, token_t, source_t, source_hold_t, user_rate_t, policy_t,
		    demanded_t, work_t, id_t, now_t, token_tag_t}));

	reg         judge_s;
	reg [7:0]   verdict_s;
	reg         source_s;
	reg         user_rate_s;
	reg [3:0]   policy_s;
	reg [5:0]   demanded_s;
	reg [7:0]   work_s;
	reg [31:0]  id_s;
	reg [63:0]  now_s;
	always @(posedge clk) begin
		judge_s     <= judge_t;
		verdict_s   <= verdict_t == PASS && token_t && !(hash3_out && hash3_tag == token_tag_t)
			       ? usher_wire_pkg::VerdictTokenForged : verdict_t;
		source_s    <= source_t;
		user_rate_s <= user_rate_t;
		policy_s    <= policy_t;
		demanded_s  <= demanded_t;
		work_s      <= work_t;
		id_s        <= id_t;
		now_s       <= now_t;
	end

	// ---- clock T + 1: the address ----

	wire [63:0]  source_hash;
	wire [127:0] source_limit;
	wire         source_charge = source_s && verdict_s == PASS && source_limit[63:0] != 64'd0;
	wire         source_ready;
	wire         source_out;
	wire         source_refused;
	wire         unused_repeat; // sources have no ids
	usher_delay #(.WIDTH(64), .CYCLES(LH3 + 1 - LH2)) source_waits (
		.clk(clk), .rst(rst), .d(hash2_tag), .q(source_hash));
	usher_bucket #(.SET_BITS(SOURCE_SET_BITS), .ID_BITS(0)) sources (
		.clk(clk), .rst(rst), .ready(source_ready),
		.in_valid(valid[T + 1]), .in_charge(source_charge), .in_hash(source_hash), .in_id(32'd0),
		.in_now(now_s), .in_interval(source_limit[63:0]), .in_tolerance(source_limit[127:64]),
		.out_valid(source_out), .out_refused(source_refused), .out_repeat(unused_repeat),
		.out_evicted(source_evicted));

	// The tag of the work is here now.
	reg work_unsolved;
	always @* begin
		work_unsolved = 1'b0;
		for (integer i = 0; i < 40; i = i + 1)
			if (6'(i) < demanded_s && hash3_tag[63 - i]) work_unsolved = 1'b1;
	end
	wire [7:0] work_done_s = work_s == PASS && demanded_s != 6'd0 && (!hash3_out || work_unsolved)
				 ? usher_wire_pkg::VerdictWorkWrong : work_s;

	localparam integer FIRST_BITS = 1 + 8 + 8 + 1 + 32 + 64;
	wire         judge_u;
	wire [7:0]   verdict_u;
	wire [7:0]   work_u;
	wire         user_rate_u;
	wire [31:0]  id_u;
	wire [63:0]  now_u;
	wire [3:0]   policy_before_u;
	usher_delay #(.WIDTH(FIRST_BITS), .CYCLES(LB)) first_bucket (
		.clk(clk), .rst(rst),
		.d({judge_s, verdict_s, work_done_s, user_rate_s, id_s, now_s}),
		.q({judge_u, verdict_u, work_u, user_rate_u, id_u, now_u}));
	usher_delay #(.WIDTH(4), .CYCLES(LB - 1)) first_policy (
		.clk(clk), .rst(rst), .d(policy_s), .q(policy_before_u));

	// ---- clock T + 1 + LB: the user ----

	wire [7:0]   next_u = verdict_u != PASS ? verdict_u
			    : source_out && source_refused ? usher_wire_pkg::VerdictSourceRate : work_u;
	wire [63:0]  user_hash;
	wire [127:0] user_limit;
	wire         user_charge = user_rate_u && next_u == PASS && user_limit[63:0] != 64'd0;
	wire         user_ready;
	wire         user_out;
	wire         user_refused;
	wire         user_repeat;
	usher_delay #(.WIDTH(64), .CYCLES(LH3 - LH2 + LB)) user_waits (
		.clk(clk), .rst(rst), .d(hash2_tag), .q(user_hash));
	usher_bucket #(.SET_BITS(USER_SET_BITS), .ID_BITS(32)) users (
		.clk(clk), .rst(rst), .ready(user_ready),
		.in_valid(valid[T + 1 + LB]), .in_charge(user_charge), .in_hash(user_hash), .in_id(id_u),
		.in_now(now_u), .in_interval(user_limit[63:0]), .in_tolerance(user_limit[127:64]),
		.out_valid(user_out), .out_refused(user_refused), .out_repeat(user_repeat),
		.out_evicted(user_evicted));

	wire         judge_w;
	wire [7:0]   verdict_w;
	wire [63:0]  now_w;
	usher_delay #(.WIDTH(1 + 8 + 64), .CYCLES(LB)) second_bucket (
		.clk(clk), .rst(rst), .d({judge_u, next_u, now_u}), .q({judge_w, verdict_w, now_w}));

	// ---- clock T + 1 + 2 LB: the end ----

	wire [7:0] last_w = user_out && user_refused ? usher_wire_pkg::VerdictUserRate : verdict_w;
	always @(posedge clk) begin
		v_valid    <= valid[T + 1 + 2*LB] && !rst;
		v_verdict  <= last_w;
		v_pass     <= !judge_w || last_w == usher_wire_pkg::VerdictPass ||
			      last_w == usher_wire_pkg::VerdictHost;
		v_mark     <= user_repeat;
		v_bypassed <= !judge_w;
		v_now      <= now_w;
	end

	assign ready = source_ready && user_ready;

	usher_policies policies (
		.clk(clk), .we(policy_we), .we_at(policy_at), .we_data(policy_data),
		.work_at(byte1[3:0]), .work_salt(work_salt2), .work_bits(work_bits2),
		.source_at(policy_t), .source_hold(source_hold_t), .source_limit(source_limit),
		.user_at(policy_before_u), .user_limit(user_limit));
endmodule

`default_nettype wire
