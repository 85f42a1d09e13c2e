// SPDX-License-Identifier: Apache-2.0
// The admission filter: an AXI-Stream of received frames in, those that pass out, unchanged and in
// order; AXI-Lite for configuration and counters. The contract is docs/admission.md, with `checks` but
// for the MAC; the way through it is docs/hardware.md.
//
// s_axis is always taken: a network card's receive side cannot wait, so what has no room is dropped and
// counted. s_axis_tuser with the last beat: received in error. m_axis_tuser: the user's last request
// again (a hint, nothing is dropped for it).
`default_nettype none

module usher_filter #(
	parameter integer HALF            = 0,  // 1: twice as many stages in the hashes
	parameter integer SOURCE_SET_BITS = 9,
	parameter integer USER_SET_BITS   = 9,
	parameter integer DEPTH_LOG2      = 7   // beats of room
) (
	input  wire         clk,
	input  wire         rst,

	input  wire         s_axis_tvalid,
	output wire         s_axis_tready,
	input  wire [511:0] s_axis_tdata,
	input  wire [63:0]  s_axis_tkeep,
	input  wire         s_axis_tlast,
	input  wire         s_axis_tuser,

	output wire         m_axis_tvalid,
	input  wire         m_axis_tready,
	output wire [511:0] m_axis_tdata,
	output wire [63:0]  m_axis_tkeep,
	output wire         m_axis_tlast,
	output wire         m_axis_tuser,

	input  wire         s_axil_awvalid,
	output wire         s_axil_awready,
	input  wire [18:0]  s_axil_awaddr,
	input  wire         s_axil_wvalid,
	output wire         s_axil_wready,
	input  wire [31:0]  s_axil_wdata,
	input  wire [3:0]   s_axil_wstrb,
	output wire         s_axil_bvalid,
	input  wire         s_axil_bready,
	output wire [1:0]   s_axil_bresp,
	input  wire         s_axil_arvalid,
	output wire         s_axil_arready,
	input  wire [18:0]  s_axil_araddr,
	output wire         s_axil_rvalid,
	input  wire         s_axil_rready,
	output wire [31:0]  s_axil_rdata,
	output wire [1:0]   s_axil_rresp,

	// For whoever watches; may be left open. Each verdict as it is reached, with the time that it
	// was judged by.
	output wire         verdict_valid,
	output wire [7:0]   verdict,
	output wire [63:0]  verdict_now,
	// One of them one clock after the last beat of each frame.
	output wire         frame_kept,
	output wire         frame_dropped
);
	// ---- registers ----

	wire         we;
	wire [18:0]  waddr;
	wire [31:0]  wdata;
	wire         re;
	wire [18:0]  raddr;
	wire [31:0]  rdata;
	wire         ready;
	wire         counters_ready;
	wire         tables_ready;
	wire         bypass;
	wire [7:0]   checks;
	wire [15:0]  udp_port;
	wire [7:0]   load_bits;
	wire [63:0]  work_window;
	wire [127:0] table_key;
	wire [127:0] token_key_0;
	wire [127:0] token_key_1;
	wire [8:0]   token_id_0;
	wire [8:0]   token_id_1;
	wire [63:0]  now;
	wire         policy_we;
	wire [7:0]   policy_at;
	wire         event_we;
	wire [15:0]  event_waddr;
	wire         event_re;
	wire [15:0]  event_raddr;
	reg  [6:0]   event_rdata;

	wire         kept;
	wire         drop_full;
	wire         drop_long;
	wire         drop_error;
	wire         v_valid;
	wire [7:0]   v_verdict;
	wire         v_pass;
	wire         v_mark;
	wire         v_bypassed;
	wire [63:0]  v_now;
	wire         passed;
	wire         discarded;
	wire         source_evicted;
	wire         user_evicted;

	assign ready = counters_ready && tables_ready;

	usher_axil #(.ADDRESS_BITS(19), .READ_CLOCKS(3)) axil (
		.clk(clk), .rst(rst),
		.s_awvalid(s_axil_awvalid), .s_awready(s_axil_awready), .s_awaddr(s_axil_awaddr),
		.s_wvalid(s_axil_wvalid), .s_wready(s_axil_wready), .s_wdata(s_axil_wdata),
		.s_wstrb(s_axil_wstrb),
		.s_bvalid(s_axil_bvalid), .s_bready(s_axil_bready), .s_bresp(s_axil_bresp),
		.s_arvalid(s_axil_arvalid), .s_arready(s_axil_arready), .s_araddr(s_axil_araddr),
		.s_rvalid(s_axil_rvalid), .s_rready(s_axil_rready), .s_rdata(s_axil_rdata),
		.s_rresp(s_axil_rresp),
		.we(we), .waddr(waddr), .wdata(wdata), .re(re), .raddr(raddr), .rdata(rdata));

	usher_regs #(
		.ADDRESS_BITS(19), .SOURCE_SET_BITS(SOURCE_SET_BITS), .USER_SET_BITS(USER_SET_BITS),
		.CAN(~usher_wire_pkg::AdmissionCheckMac)
	) regs (
		.clk(clk), .rst(rst), .ready(counters_ready), .filter_ready(ready),
		.we(we), .waddr(waddr), .wdata(wdata), .re(re), .raddr(raddr), .rdata(rdata),
		.bypass(bypass), .checks(checks), .udp_port(udp_port), .load_bits(load_bits),
		.work_window(work_window), .table_key(table_key),
		.token_key_0(token_key_0), .token_key_1(token_key_1),
		.token_id_0(token_id_0), .token_id_1(token_id_1), .now(now),
		.policy_we(policy_we), .policy_at(policy_at),
		.event_we(event_we), .event_waddr(event_waddr),
		.event_re(event_re), .event_raddr(event_raddr), .event_rdata(event_rdata),
		.v_valid(v_valid), .v_verdict(v_verdict[4:0]), .v_bypassed(v_bypassed),
		.kept(kept), .drop_full(drop_full), .drop_long(drop_long), .drop_error(drop_error),
		.passed(passed), .discarded(discarded), .v_mark(v_mark),
		.source_evicted(source_evicted), .user_evicted(user_evicted));

	// ---- frames wait here for their verdicts ----

	wire         f_valid;
	wire         f_ready;
	wire [511:0] f_data;
	wire [63:0]  f_keep;
	wire         f_last;

	assign s_axis_tready = 1'b1;

	usher_axis_fifo #(
		.DEPTH_LOG2(DEPTH_LOG2), .BEATS_MAX(usher_wire_pkg::FilterBeatsMax)
	) fifo (
		.clk(clk), .rst(rst), .enable(ready),
		.s_valid(s_axis_tvalid), .s_data(s_axis_tdata), .s_keep(s_axis_tkeep),
		.s_last(s_axis_tlast), .s_error(s_axis_tuser),
		.kept(kept), .drop_full(drop_full), .drop_long(drop_long), .drop_error(drop_error),
		.m_valid(f_valid), .m_ready(f_ready), .m_data(f_data), .m_keep(f_keep), .m_last(f_last));

	usher_egress #(.FRAMES_LOG2(DEPTH_LOG2)) egress (
		.clk(clk), .rst(rst),
		.v_valid(v_valid), .v_pass(v_pass), .v_mark(v_mark),
		.s_valid(f_valid), .s_ready(f_ready), .s_data(f_data), .s_keep(f_keep), .s_last(f_last),
		.m_valid(m_axis_tvalid), .m_ready(m_axis_tready), .m_data(m_axis_tdata),
		.m_keep(m_axis_tkeep), .m_last(m_axis_tlast), .m_mark(m_axis_tuser),
		.passed(passed), .discarded(discarded));

	// ---- what is said of them ----

	wire         p_valid;
	wire [7:0]   p_verdict;
	wire [2:0]   p_class;
	wire         p_box;
	wire [31:0]  p_event;
	wire [31:0]  p_id;
	wire [63:0]  p_user;
	wire [63:0]  p_source;
	wire         p_ipv4;
	wire         p_has_token;
	wire [255:0] p_token;
	wire         p_has_work;
	wire [159:0] p_work;

	usher_parse parse (
		.clk(clk), .rst(rst),
		.s_valid(s_axis_tvalid), .s_data(s_axis_tdata), .s_keep(s_axis_tkeep),
		.s_last(s_axis_tlast), .kept(kept), .udp_port(udp_port),
		.p_valid(p_valid), .p_verdict(p_verdict), .p_class(p_class), .p_box(p_box),
		.p_event(p_event), .p_id(p_id), .p_user(p_user), .p_source(p_source), .p_ipv4(p_ipv4),
		.p_has_token(p_has_token), .p_token(p_token), .p_has_work(p_has_work), .p_work(p_work));

	// A byte an event, of which seven bits count. One port looks up, the other configures.
	reg  [6:0] events [0:65535];
	reg  [6:0] event_byte;
	wire [15:0] event_at = event_we ? event_waddr : event_raddr;
	always @(posedge clk) begin
		event_byte <= events[p_event[15:0]];
		if (event_we)      events[event_at] <= wdata[6:0];
		else if (event_re) event_rdata      <= events[event_at];
	end

	usher_verdict #(
		.HALF(HALF), .SOURCE_SET_BITS(SOURCE_SET_BITS), .USER_SET_BITS(USER_SET_BITS)
	) verdicts (
		.clk(clk), .rst(rst), .ready(tables_ready),
		.p_valid(p_valid), .p_verdict(p_verdict), .p_class(p_class), .p_box(p_box),
		.p_event(p_event), .p_id(p_id), .p_user(p_user), .p_source(p_source), .p_ipv4(p_ipv4),
		.p_has_token(p_has_token), .p_token(p_token), .p_has_work(p_has_work), .p_work(p_work),
		.event_byte(event_byte),
		.now(now), .bypass(bypass), .checks(checks), .load_bits(load_bits),
		.work_window(work_window), .table_key(table_key),
		.token_key_0(token_key_0), .token_key_1(token_key_1),
		.token_id_0(token_id_0), .token_id_1(token_id_1),
		.policy_we(policy_we), .policy_at(policy_at), .policy_data(wdata),
		.v_valid(v_valid), .v_verdict(v_verdict), .v_pass(v_pass), .v_mark(v_mark),
		.v_bypassed(v_bypassed), .v_now(v_now),
		.source_evicted(source_evicted), .user_evicted(user_evicted));

	assign verdict_valid = v_valid;
	assign verdict       = v_verdict;
	assign verdict_now   = v_now;
	assign frame_kept    = kept;
	assign frame_dropped = drop_full || drop_long || drop_error;
endmodule

`default_nettype wire
