// SPDX-License-Identifier: Apache-2.0
// A table of rate buckets: docs/admission.md, section 8, one request a clock, whatever sets they hit.
//
// LATENCY = 5 clocks, no back-pressure. The stages are named after what they hold:
//
//   fetch   the request; the set is being read from memory, as it was before the edge
//   compare the set, and what can be computed without it: now + tolerance, now + interval
//   decide  the set as all requests before this one have left it; the decision, one 64-bit carry chain
//   write   the changed entry goes into memory; was the one that was replaced still in debt?
//   out
//
// Up to three requests have decided, and what they changed is not yet in what a later one has read: each
// change is put into the sets that are under way, the youngest last. A set is one line of 4 entries; each
// entry is a memory of its own.
//
// The hash is HASH_BITS wide, 64 in the filter: its lowest SET_BITS choose the set, its upper half is the
// tag. ID_BITS is 32, or 0: then no id is stored and none is a repeat.

`default_nettype none

module usher_bucket #(
	parameter integer SET_BITS  = 9,
	parameter integer ID_BITS   = 32,
	// Smaller ones are for proofs.
	parameter integer HASH_BITS = 64,
	parameter integer TIME_BITS = 64
) (
	input  wire                 clk,
	input  wire                 rst,
	// 0 for 2^SET_BITS clocks after rst, while all entries are zeroed.
	output wire                 ready,
	input  wire                 in_valid,
	// 0: passes, and the table is not touched.
	input  wire                 in_charge,
	input  wire [HASH_BITS-1:0] in_hash,
	input  wire [31:0]          in_id,
	input  wire [TIME_BITS-1:0] in_now,
	input  wire [TIME_BITS-1:0] in_interval,
	input  wire [TIME_BITS-1:0] in_tolerance,
	output wire                 out_valid,
	output wire                 out_refused,
	output wire                 out_repeat,
	output wire                 out_evicted
);
	localparam integer WAYS     = 4;
	localparam integer TAG_BITS = HASH_BITS / 2;
	// A place for the id, even if there is none: it is constant then.
	localparam integer ID       = ID_BITS != 0 ? ID_BITS : 1;
	localparam integer ENTRY    = TAG_BITS + ID_BITS + TIME_BITS;

	// The bits of the hash between set and tag say nothing, nor does an id that is not stored.
	wire unused = &{1'b0, in_hash[HASH_BITS-TAG_BITS-1:0], in_id};

`ifdef FORMAL
	// The proof chooses a set and looks at it everywhere.
	localparam integer F_ENTRY = TAG_BITS + ID + TIME_BITS;
	(* anyconst *) reg [SET_BITS-1:0] followed_set;
	wire [WAYS*F_ENTRY-1:0] f_memory;
	wire [WAYS*F_ENTRY-1:0] f_fetch;
	wire [WAYS*F_ENTRY-1:0] f_compare;
`endif

	// ---- zeroing ----

	reg                zeroed;
	reg [SET_BITS-1:0] zero_set;
	always @(posedge clk) begin
		if (rst) begin
			zeroed   <= 1'b0;
			zero_set <= '0;
		end else if (!zeroed) begin
			zero_set <= zero_set + 1'b1;
			zeroed   <= &zero_set;
		end
	end
	assign ready = zeroed;

	// ---- fetch ----

	reg                 fetch_valid;
	reg                 fetch_charge;
	reg [SET_BITS-1:0]  fetch_set;
	reg [TAG_BITS-1:0]  fetch_tag;
	reg [ID-1:0]        fetch_id;
	reg [TIME_BITS-1:0] fetch_now;
	reg [TIME_BITS-1:0] fetch_interval;
	reg [TIME_BITS-1:0] fetch_tolerance;
	always @(posedge clk) begin
		fetch_valid     <= in_valid && !rst;
		fetch_charge    <= in_valid && in_charge && zeroed && !rst;
		fetch_set       <= in_hash[SET_BITS-1:0];
		fetch_tag       <= in_hash[HASH_BITS-1:HASH_BITS-TAG_BITS];
		fetch_id        <= ID_BITS != 0 ? in_id[ID-1:0] : '0;
		fetch_now       <= in_now;
		fetch_interval  <= in_interval;
		fetch_tolerance <= in_tolerance;
	end

	// ---- what requests before this one changed ----

	// decide: now, from the logic below; write: goes into memory with this edge; done: is there now, but was
	// not yet when what is in fetch was read.
	wire                decide_write;
	wire [WAYS-1:0]     decide_ways;
	wire [TIME_BITS-1:0] decide_until;
	reg                 decide_charge;
	reg  [SET_BITS-1:0] decide_set;
	reg  [TAG_BITS-1:0] decide_tag;
	reg  [ID-1:0]       decide_id;
	reg  [WAYS-1:0]     write_ways;
	reg  [SET_BITS-1:0] write_set;
	reg  [TAG_BITS-1:0] write_tag;
	reg  [ID-1:0]       write_id;
	reg  [TIME_BITS-1:0] write_until;
	reg  [WAYS-1:0]     done_ways;
	reg  [SET_BITS-1:0] done_set;
	reg  [TAG_BITS-1:0] done_tag;
	reg  [ID-1:0]       done_id;
	reg  [TIME_BITS-1:0] done_until;

	// ---- compare ----

	reg                 compare_valid;
	reg                 compare_charge;
	reg [SET_BITS-1:0]  compare_set;
	reg [TAG_BITS-1:0]  compare_tag;
	reg [ID-1:0]        compare_id;
	reg [TIME_BITS-1:0] compare_now;
	reg [TIME_BITS:0]   compare_limit;
	reg [TIME_BITS-1:0] compare_full;
	reg [TIME_BITS-1:0] compare_interval;
	always @(posedge clk) begin
		compare_valid    <= fetch_valid && !rst;
		compare_charge   <= fetch_charge && !rst;
		compare_set      <= fetch_set;
		compare_tag      <= fetch_tag;
		compare_id       <= fetch_id;
		compare_now      <= fetch_now;
		// until - now > tolerance, without a subtraction behind the memory; one bit more, as the sum may
		// be beyond the end of time.
`ifdef USHER_BUG_BUCKET_RATE
		compare_limit    <= {1'b0, fetch_now} + {1'b0, fetch_tolerance} + 1'b1; // planted: 1 ns too kind
`else
		compare_limit    <= {1'b0, fetch_now} + {1'b0, fetch_tolerance};
`endif
		compare_full     <= fetch_now + fetch_interval;
		compare_interval <= fetch_interval;
	end

	// ---- decide ----

	reg                  decide_valid;
	reg  [TIME_BITS-1:0] decide_now;
	reg  [TIME_BITS:0]   decide_limit;
	reg  [TIME_BITS-1:0] decide_full;
	reg  [TIME_BITS-1:0] decide_interval;
	always @(posedge clk) begin
		decide_valid    <= compare_valid && !rst;
		decide_charge   <= compare_charge && !rst;
		decide_set      <= compare_set;
		decide_tag      <= compare_tag;
		decide_id       <= compare_id;
		decide_now      <= compare_now;
		decide_limit    <= compare_limit;
		decide_full     <= compare_full;
		decide_interval <= compare_interval;
	end

	wire [WAYS-1:0]           same_tag;
	wire [WAYS-1:0]           same_id;
	wire [WAYS*TIME_BITS-1:0] untils;

	// The first entry with the tag.
	wire [WAYS-1:0] hit_ways = same_tag & (~same_tag + 1'b1);
	wire            hit      = |same_tag;
	wire [TIME_BITS-1:0] hit_until =
		{TIME_BITS{hit_ways[0]}} & untils[0*TIME_BITS+:TIME_BITS] |
		{TIME_BITS{hit_ways[1]}} & untils[1*TIME_BITS+:TIME_BITS] |
		{TIME_BITS{hit_ways[2]}} & untils[2*TIME_BITS+:TIME_BITS] |
		{TIME_BITS{hit_ways[3]}} & untils[3*TIME_BITS+:TIME_BITS];
	// Else the one that is full first, the first of these. All six pairs at once.
	wire le01 = untils[0*TIME_BITS+:TIME_BITS] <= untils[1*TIME_BITS+:TIME_BITS];
	wire le02 = untils[0*TIME_BITS+:TIME_BITS] <= untils[2*TIME_BITS+:TIME_BITS];
	wire le03 = untils[0*TIME_BITS+:TIME_BITS] <= untils[3*TIME_BITS+:TIME_BITS];
	wire le12 = untils[1*TIME_BITS+:TIME_BITS] <= untils[2*TIME_BITS+:TIME_BITS];
	wire le13 = untils[1*TIME_BITS+:TIME_BITS] <= untils[3*TIME_BITS+:TIME_BITS];
	wire le23 = untils[2*TIME_BITS+:TIME_BITS] <= untils[3*TIME_BITS+:TIME_BITS];
	wire [WAYS-1:0] victim_ways = {
		!le03 && !le13 && !le23, !le02 && !le12 && le23, !le01 && le12 && le13, le01 && le02 && le03};

	wire repeated = ID_BITS != 0 && |(hit_ways & same_id) && decide_id != '0;
	wire over     = hit && {1'b0, hit_until} > decide_limit;
	wire in_debt  = hit && hit_until > decide_now;

	assign decide_write = decide_charge && !repeated && !over;
	assign decide_ways  = !decide_write ? '0 : hit ? hit_ways : victim_ways;
	assign decide_until = in_debt ? hit_until + decide_interval : decide_full;

	generate
		for (genvar w = 0; w < WAYS; w = w + 1) begin : g_way
			wire [ENTRY-1:0] entry;
			wire [ENTRY-1:0] changed;
			wire [TAG_BITS-1:0]  read_tag;
			wire [ID-1:0]        read_id;
			wire [TIME_BITS-1:0] read_until;
			if (ID_BITS != 0) begin : g_id
				assign {read_tag, read_id, read_until} = entry;
				assign changed = {write_tag, write_id, write_until};
			end else begin : g_no_id
				assign {read_tag, read_until} = entry;
				assign read_id = '0;
				assign changed = {write_tag, write_until};
			end
`ifdef FORMAL
			wire [ENTRY-1:0] f_data;
`endif
			usher_ram #(.WIDTH(ENTRY), .ADDRESS_BITS(SET_BITS)) ram (
				.clk,
				.write_enable(!zeroed || write_ways[w]),
				.write_address(zeroed ? write_set : zero_set),
				.write_data(zeroed ? changed : '0),
				.read_enable(1'b1),
				.read_address(in_hash[SET_BITS-1:0]),
`ifdef FORMAL
				.f_address(followed_set),
				.f_data,
`endif
				.out_data(entry)
			);

			// Fetch to compare: changes that the memory did not show.
`ifdef USHER_BUG_BUCKET_DONE
			wire from_done = 1'b0; // planted
`else
			wire from_done = done_ways[w] && done_set == fetch_set;
`endif
			wire from_write  = write_ways[w] && write_set == fetch_set;
			wire from_decide = decide_ways[w] && decide_set == fetch_set;
			reg [TAG_BITS-1:0]  tag;
			reg [ID-1:0]        id;
			reg [TIME_BITS-1:0] its_until;
			always @(posedge clk) begin
				if (from_decide)
					{tag, id, its_until} <= {decide_tag, decide_id, decide_until};
				else if (from_write)
					{tag, id, its_until} <= {write_tag, write_id, write_until};
				else if (from_done)
					{tag, id, its_until} <= {done_tag, done_id, done_until};
				else
					{tag, id, its_until} <= {read_tag, read_id, read_until};
			end

			// Compare to decide: the change of the request before.
`ifdef USHER_BUG_BUCKET_NEXT
			wire from_next = 1'b0; // planted
`else
			wire from_next = decide_ways[w] && decide_set == compare_set;
`endif
			reg                 tag_is;
			reg                 id_is;
			reg [TIME_BITS-1:0] now_until;
			always @(posedge clk) begin
				tag_is    <= from_next ? decide_tag == compare_tag : tag == compare_tag;
				id_is     <= from_next ? decide_id == compare_id : id == compare_id;
				now_until <= from_next ? decide_until : its_until;
			end
			assign same_tag[w] = tag_is;
			assign same_id[w]  = id_is;
			assign untils[w*TIME_BITS+:TIME_BITS] = now_until;

`ifdef FORMAL
			// The entry of the followed set as memory has it, and what fetch, compare and decide have.
			wire [TAG_BITS-1:0]  f_tag;
			wire [ID-1:0]        f_id;
			wire [TIME_BITS-1:0] f_until;
			if (ID_BITS != 0) begin : g_f_id
				assign {f_tag, f_id, f_until} = f_data;
			end else begin : g_f_no_id
				assign {f_tag, f_until} = f_data;
				assign f_id = '0;
			end
			assign f_memory[w*F_ENTRY+:F_ENTRY] = write_ways[w] && write_set == followed_set ?
				{write_tag, write_id, write_until} : {f_tag, f_id, f_until};
			assign f_fetch[w*F_ENTRY+:F_ENTRY] = from_write ? {write_tag, write_id, write_until} :
				from_done ? {done_tag, done_id, done_until} : {read_tag, read_id, read_until};
			assign f_compare[w*F_ENTRY+:F_ENTRY] = {tag, id, its_until};
`endif
		end
	endgenerate

	// ---- write ----

	reg                  write_valid;
	reg                  write_refused;
	reg                  write_repeat;
	reg                  write_replaced;
	reg [TIME_BITS-1:0]  write_now;
	reg [TIME_BITS-1:0]  write_lost;
	always @(posedge clk) begin
		write_valid    <= decide_valid && !rst;
		write_refused  <= decide_charge && !repeated && over;
		write_repeat   <= decide_charge && repeated;
		write_replaced <= decide_charge && !hit;
		write_now      <= decide_now;
		write_lost     <=
			{TIME_BITS{victim_ways[0]}} & untils[0*TIME_BITS+:TIME_BITS] |
			{TIME_BITS{victim_ways[1]}} & untils[1*TIME_BITS+:TIME_BITS] |
			{TIME_BITS{victim_ways[2]}} & untils[2*TIME_BITS+:TIME_BITS] |
			{TIME_BITS{victim_ways[3]}} & untils[3*TIME_BITS+:TIME_BITS];
		write_ways     <= rst ? '0 : decide_ways;
		write_set      <= decide_set;
		write_tag      <= decide_tag;
		write_id       <= decide_id;
		write_until    <= decide_until;
		done_ways      <= rst ? '0 : write_ways;
		done_set       <= write_set;
		done_tag       <= write_tag;
		done_id        <= write_id;
		done_until     <= write_until;
	end

	// ---- out ----

	reg valid;
	reg refused;
	reg again;
	reg evicted;
	always @(posedge clk) begin
		valid   <= write_valid && !rst;
		refused <= write_refused;
		again   <= write_repeat;
		evicted <= write_replaced && write_lost > write_now;
	end
	assign out_valid   = valid;
	assign out_refused = refused;
	assign out_repeat  = again;
	assign out_evicted = evicted;

`ifdef FORMAL
`include "usher_bucket_properties.svh"
`endif
endmodule

`default_nettype wire
