// SPDX-License-Identifier: Apache-2.0
// Registers of the filter (enum filter_register of the wire table): configuration, the clock, and
// counters. rdata is there two clocks after `re`.
`default_nettype none

module usher_regs #(
	parameter integer ADDRESS_BITS    = 19,
	parameter integer SOURCE_SET_BITS = 9,
	parameter integer USER_SET_BITS   = 9,
	parameter [7:0]   CAN             = 8'hfe // checks that the filter can make
) (
	input  wire                    clk,
	input  wire                    rst,
	output wire                    ready, // counters are zeroed
	input  wire                    filter_ready,
	input  wire                    we,
	input  wire [ADDRESS_BITS-1:0] waddr,
	input  wire [31:0]             wdata,
	input  wire                    re,
	input  wire [ADDRESS_BITS-1:0] raddr,
	output reg  [31:0]             rdata,

	output reg                     bypass,
	output reg  [7:0]              checks,
	output reg  [15:0]             udp_port,
	output reg  [7:0]              load_bits,
	output reg  [63:0]             work_window,
	output reg  [127:0]            table_key,
	output reg  [127:0]            token_key_0,
	output reg  [127:0]            token_key_1,
	output reg  [8:0]              token_id_0,
	output reg  [8:0]              token_id_1,
	output reg  [63:0]             now,
	output wire                    policy_we,
	output wire [7:0]              policy_at,
	output wire                    event_we,
	output wire [15:0]             event_waddr,
	output wire                    event_re,
	output wire [15:0]             event_raddr,
	input  wire [6:0]              event_rdata, // one clock after event_re

	input  wire                    v_valid,
	input  wire [4:0]              v_verdict,
	input  wire                    v_bypassed,
	// One pulse each: of the counters from RECEIVED on, but for the first, which is the sum of
	// kept and dropped frames.
	input  wire                    kept,
	input  wire                    drop_full,
	input  wire                    drop_long,
	input  wire                    drop_error,
	input  wire                    passed,
	input  wire                    discarded,
	input  wire                    v_mark,
	input  wire                    source_evicted,
	input  wire                    user_evicted
);
	localparam integer COUNT_BITS = 48;
	// Offsets of registers, in words.
	localparam [9:0] ID           = usher_wire_pkg::FilterRegisterId[11:2];
	localparam [9:0] INTERFACE    = usher_wire_pkg::FilterRegisterInterface[11:2];
	localparam [9:0] CAPABILITIES = usher_wire_pkg::FilterRegisterCapabilities[11:2];
	localparam [9:0] STATUS       = usher_wire_pkg::FilterRegisterStatus[11:2];
	localparam [9:0] CONTROL      = usher_wire_pkg::FilterRegisterControl[11:2];
	localparam [9:0] CHECKS       = usher_wire_pkg::FilterRegisterChecks[11:2];
	localparam [9:0] UDP_PORT     = usher_wire_pkg::FilterRegisterUdpPort[11:2];
	localparam [9:0] LOAD_BITS    = usher_wire_pkg::FilterRegisterLoadBits[11:2];
	localparam [9:0] CLOCK_LOW    = usher_wire_pkg::FilterRegisterClockLow[11:2];
	localparam [9:0] CLOCK_HIGH   = usher_wire_pkg::FilterRegisterClockHigh[11:2];
	localparam [9:0] CLOCK_STEP   = usher_wire_pkg::FilterRegisterClockStep[11:2];
	localparam [9:0] WINDOW_LOW   = usher_wire_pkg::FilterRegisterWorkWindowLow[11:2];
	localparam [9:0] WINDOW_HIGH  = usher_wire_pkg::FilterRegisterWorkWindowHigh[11:2];
	localparam [9:0] TABLE_KEY    = usher_wire_pkg::FilterRegisterTableKey[11:2];
	localparam [9:0] TOKEN_0      = usher_wire_pkg::FilterRegisterToken0[11:2];
	localparam [9:0] TOKEN_1      = usher_wire_pkg::FilterRegisterToken1[11:2];
	localparam [9:0] VERDICTS     = usher_wire_pkg::FilterRegisterVerdicts[11:2];
	localparam [9:0] RECEIVED     = usher_wire_pkg::FilterRegisterReceived[11:2];
	localparam [9:0] POLICIES     = usher_wire_pkg::FilterRegisterPolicies[11:2];
	localparam [9:0] KEY_AT       = 10'd4; // words from a token's id to its key

	// ---- writes ----

	wire       write_event = we && waddr[ADDRESS_BITS-1];
	wire       write       = we && waddr[ADDRESS_BITS-1:12] == '0;
	wire [9:0] to          = waddr[11:2];
	reg [31:0] step;
	reg [31:0] clock_low; // kept until the upper half comes

	assign policy_we   = write && to[9:8] == POLICIES[9:8];
	assign policy_at   = to[7:0];
	assign event_we    = write_event;
	assign event_waddr = waddr[17:2];

	always @(posedge clk) begin
		if (write) begin
			case (to)
			CONTROL:             bypass              <= wdata[0];
			CHECKS:              checks              <= wdata[7:0] & CAN;
			UDP_PORT:            udp_port            <= wdata[15:0];
			LOAD_BITS:           load_bits           <= wdata[7:0];
			CLOCK_LOW:           clock_low           <= wdata;
			CLOCK_STEP:          step                <= wdata;
			WINDOW_LOW:          work_window[31:0]   <= wdata;
			WINDOW_HIGH:         work_window[63:32]  <= wdata;
			TABLE_KEY:           table_key[31:0]     <= wdata;
			TABLE_KEY + 10'd1:   table_key[63:32]    <= wdata;
			TABLE_KEY + 10'd2:   table_key[95:64]    <= wdata;
			TABLE_KEY + 10'd3:   table_key[127:96]   <= wdata;
			TOKEN_0:             token_id_0          <= wdata[8:0];
			TOKEN_0 + KEY_AT:         token_key_0[31:0]   <= wdata;
			TOKEN_0 + KEY_AT + 10'd1: token_key_0[63:32]  <= wdata;
			TOKEN_0 + KEY_AT + 10'd2: token_key_0[95:64]  <= wdata;
			TOKEN_0 + KEY_AT + 10'd3: token_key_0[127:96] <= wdata;
			TOKEN_1:             token_id_1          <= wdata[8:0];
			TOKEN_1 + KEY_AT:         token_key_1[31:0]   <= wdata;
			TOKEN_1 + KEY_AT + 10'd1: token_key_1[63:32]  <= wdata;
			TOKEN_1 + KEY_AT + 10'd2: token_key_1[95:64]  <= wdata;
			TOKEN_1 + KEY_AT + 10'd3: token_key_1[127:96] <= wdata;
			default: ;
			endcase
		end
		if (rst) begin
			bypass      <= 1'b0;
			checks      <= 8'd0;
			udp_port    <= usher_wire_pkg::UdpPort;
			load_bits   <= 8'd0;
			step        <= 32'd0;
			clock_low   <= 32'd0;
			work_window <= 64'd0;
			table_key   <= 128'd0;
			token_key_0 <= 128'd0;
			token_key_1 <= 128'd0;
			token_id_0  <= 9'd0;
			token_id_1  <= 9'd0;
		end
	end

	// ---- the clock ----

	reg  [23:0] fraction;
	wire [87:0] sum      = {now, fraction} + 88'(step);
	wire [63:0] new_time = {wdata, clock_low};

	always @(posedge clk) begin
		if (rst) begin
			now      <= 64'd0;
			fraction <= 24'd0;
		end else if (write && to == CLOCK_HIGH && new_time > now) begin
			now      <= new_time;
			fraction <= 24'd0;
		end else begin
			{now, fraction} <= sum;
		end
	end

	// ---- counters ----

	// Of verdicts: a memory that is zeroed after a reset, place by place.
	reg [COUNT_BITS-1:0] verdicts [0:31];
	reg [5:0]            zeroed;
	wire                 zeroing  = !zeroed[5];
	wire                 judged   = v_valid && !v_bypassed;
	wire [4:0]           count_at = zeroing ? zeroed[4:0] : v_verdict;
	wire [COUNT_BITS-1:0] counted = verdicts[count_at] + 1'b1;
	assign ready = !zeroing;

	always @(posedge clk) begin
		if (zeroing || judged) verdicts[count_at] <= zeroing ? '0 : counted;
		zeroed <= rst ? 6'd0 : zeroed + 6'(zeroing);
	end

	// The others, in the order of their registers.
	wire received = kept || drop_full || drop_long || drop_error;
	wire [9:0] pulses = {user_evicted, source_evicted, v_valid && v_mark, v_valid && v_bypassed,
			     discarded, passed, drop_error, drop_long, drop_full, received};
	reg [COUNT_BITS-1:0] counts [0:9];
	always @(posedge clk) begin
		for (integer i = 0; i < 10; i = i + 1) begin
			if (rst)            counts[i] <= '0;
			else if (pulses[i]) counts[i] <= counts[i] + 1'b1;
		end
	end

	// ---- reads: clock 0 counter and event, clock 1 choice ----

	wire [9:0]            from       = raddr[11:2];
	wire [9:0]            pulse_at   = from - RECEIVED;
	wire                  is_verdict = from[9:6] == VERDICTS[9:6];
	reg                   chosen;
	reg                   chosen_event;
	reg                   chosen_registers;
	reg [9:0]             from1;
	reg                   is_count1;
	reg [COUNT_BITS-1:0]  count1;
	reg [31:0]            high; // upper half that goes with the low half read last

	assign event_re    = re;
	assign event_raddr = raddr[17:2];

	always @(posedge clk) begin
		chosen           <= re && !rst;
		chosen_event     <= raddr[ADDRESS_BITS-1];
		chosen_registers <= raddr[ADDRESS_BITS-1:12] == '0;
		from1            <= from;
		is_count1        <= is_verdict || (from >= RECEIVED && pulse_at < 10'd20);
		count1           <= is_verdict ? verdicts[from[5:1]]
				  : pulse_at < 10'd20 ? counts[pulse_at[4:1]] : '0;
		if (chosen && chosen_registers) begin
			if (from1 == CLOCK_LOW)            high <= now[63:32];
			else if (is_count1 && !from1[0])   high <= 32'(count1[COUNT_BITS-1:32]);
		end
	end

	always @(posedge clk) begin
		if (chosen) begin
			rdata <= 32'd0;
			if (chosen_event)
				rdata <= {25'd0, event_rdata};
			else if (chosen_registers) begin
				if (is_count1)
					rdata <= from1[0] ? high : count1[31:0];
				case (from1)
				ID:           rdata <= usher_wire_pkg::FilterId;
				INTERFACE:    rdata <= usher_wire_pkg::FilterInterface;
				CAPABILITIES: rdata <= {8'd0, 8'(USER_SET_BITS), 8'(SOURCE_SET_BITS), CAN};
				STATUS:       rdata <= {31'd0, filter_ready};
				CONTROL:      rdata <= {31'd0, bypass};
				CHECKS:       rdata <= {24'd0, checks};
				UDP_PORT:     rdata <= {16'd0, udp_port};
				LOAD_BITS:    rdata <= {24'd0, load_bits};
				CLOCK_LOW:    rdata <= now[31:0];
				CLOCK_HIGH:   rdata <= high;
				CLOCK_STEP:   rdata <= step;
				WINDOW_LOW:   rdata <= work_window[31:0];
				WINDOW_HIGH:  rdata <= work_window[63:32];
				TOKEN_0:      rdata <= {23'd0, token_id_0};
				TOKEN_1:      rdata <= {23'd0, token_id_1};
				default: ;
				endcase
			end
		end
	end
endmodule

`default_nettype wire
