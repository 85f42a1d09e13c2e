/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The read model of orders against the engine itself: thousands of random requests, and after every
 * few of them each hold and each free seat of the book is what the engine answers. Now and then the
 * book is closed and made again from what it had handed over for the tables.
 *
 * USH_SEED=n repeats a run.
 */
#include "../replay.h"
#include "../tap.h"

#include "orders/book_out.h"

#define EVENT 3u
#define ROWS 5u
#define SEATS 10u
#define USERS 6u
#define HOLDS 4000u
#define STEPS 6000u
#define MS 1000000ull

struct known {
	uint64_t hold;
	uint64_t user;
};

static struct harness harness;
static struct replay replay;
static struct ush_random chance;
static struct book *book;
static size_t applied;
static struct known known[HOLDS];
static uint32_t known_count;
static uint32_t ids[USERS + 1];
/* What the tables would have. */
static struct book_hold *table;
static uint32_t table_count;
static uint64_t table_free[ROWS], table_sequence[ROWS];
static struct book_event_change table_event;
static struct book_list_change table_list[8];
static uint32_t table_list_count;
static int64_t next_change = 1;
static uint64_t kinds_seen;
/* As changes tell it. */
static bool told_sold_out;
static uint64_t done[256];

static const char *const kinds[] = {"hold.made", "hold.changed", "hold.paying", "hold.released",
	"hold.expired", "order.sold", "order.refunding", "order.refund_failed", "order.refunded",
	"order.transferred", "order.cancelled", "waitlist.joined", "waitlist.left",
	"waitlist.offered", "event.loaded", "event.status", "event.sold_out", "event.available"};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static uint32_t below(uint32_t n)
{
	return (uint32_t)ush_random_below(&chance, n);
}

static int image_of(void *context, uint32_t event, uint64_t digest, void **image, size_t *bytes,
	struct ush_message *message)
{
	const void *found;

	(void)context;
	if (replay_find(&replay, event, digest, &found, bytes, message) != 0)
		return -USH_ENOENT;
	*image = malloc(*bytes);
	memcpy(*image, found, *bytes);
	return 0;
}

static struct book_terms terms_of(void *context, uint32_t event, uint64_t sequence)
{
	(void)context;
	(void)event;
	(void)sequence;
	return (struct book_terms){.fee_fixed = 100, .fee_ppm = 50000};
}

static const struct book_source source = {.image = image_of, .terms = terms_of};

/* ---- the tables ---- */

static void keep_hold(const struct book_hold *hold)
{
	for (uint32_t i = 0; i < table_count; i++) {
		if (table[i].hold == hold->hold) {
			table[i] = *hold;
			return;
		}
	}
	table = realloc(table, (table_count + 1) * sizeof(*table));
	table[table_count++] = *hold;
}

static void keep_changes(const struct book_out *out)
{
	for (uint32_t i = 0; i < out->change_count; i++) {
		const struct book_change *change = &out->change[i];
		bool found = false;

		CHECK_EQ(change->number, next_change);
		next_change++;
		for (uint32_t k = 0; k < KINDS; k++) {
			if (strcmp(kinds[k], change->kind) != 0)
				continue;
			kinds_seen |= 1ull << k;
			found = true;
		}
		CHECK(found);
		/* In turns. */
		if (strcmp(change->kind, "event.sold_out") == 0 ||
			strcmp(change->kind, "event.available") == 0) {
			CHECK_EQ(told_sold_out, change->kind[6] == 'a');
			told_sold_out = !told_sold_out;
		}
		CHECK(change->body[0] == '{' && change->body[strlen(change->body) - 1] == '}');
	}
}

static void take(void)
{
	struct book_out out;

	CHECK_EQ(book_take(book, &out), 0);
	for (uint32_t i = 0; i < out.hold_count; i++)
		keep_hold(&out.hold[i]);
	for (uint32_t i = 0; i < out.row_count; i++) {
		table_free[out.row[i].row] = out.row[i].free;
		table_sequence[out.row[i].row] = out.row[i].sequence;
	}
	for (uint32_t i = 0; i < out.list_count; i++)
		table_list[table_list_count++] = out.list[i];
	if (out.event_count != 0)
		table_event = out.event[0];
	keep_changes(&out);
	book_out_free(&out);
}

static bool is_over(const struct book_hold *hold)
{
	return hold->state == USH_HOLD_STATE_RELEASED || hold->state == USH_HOLD_STATE_EXPIRED ||
	       hold->state == USH_HOLD_STATE_REFUNDED;
}

/* A book from the tables, as after a restart of the control plane. */
static void restart(void)
{
	struct ush_message message;

	take();
	book_close(book);
	book = book_open(&source);
	book->change_number = next_change - 1;
	CHECK_EQ(book_put_event(book, EVENT, table_event.digest, table_event.status,
			 table_event.changes, table_event.sold, &message),
		0);
	for (uint32_t i = 0; i < table_list_count; i++)
		CHECK_EQ(book_put_list(
				 book, EVENT, table_list[i].number, table_list[i].digest, &message),
			0);
	for (uint32_t i = 0; i < ROWS; i++)
		book_put_row(book, EVENT, i, table_free[i], table_sequence[i]);
	for (uint32_t i = 0; i < table_count; i++) {
		if (!is_over(&table[i]))
			CHECK_EQ(book_put_hold(book, &table[i]), 0);
	}
}

/* ---- asking the engine ---- */

static void follow(void)
{
	struct ush_message message = {.text = ""};

	harness_make_durable(&harness);
	replay_collect(&replay, ush_engine_log(harness.engine));
	while (applied < replay.count) {
		uint32_t run = replay.records[applied].run_count;
		int error =
			book_apply(book, &replay.records[applied], run, harness.now_ns, &message);

		if (error != 0)
			printf("# %s\n", message.text);
		CHECK_EQ(error, 0);
		applied += run;
	}
}

static struct ush_reply ask_with(struct ush_request request, const void *extra, uint32_t bytes)
{
	struct ush_reply reply;

	request.event = EVENT;
	reply = harness_ask_with(&harness, &request, extra, bytes, NULL);
	done[request.op] += reply.status == USH_STATUS_OK;
	follow();
	return reply;
}

static struct ush_reply ask(struct ush_request request)
{
	return ask_with(request, NULL, 0);
}

static struct ush_reply query(const struct known *k)
{
	return ask((struct ush_request){.op = USH_OP_QUERY_HOLD, .user = k->user, .hold = k->hold});
}

static void know(const struct ush_reply *reply, uint64_t user)
{
	if (reply->status == USH_STATUS_OK && known_count < HOLDS)
		known[known_count++] = (struct known){.hold = reply->hold, .user = user};
}

/* ---- comparing ---- */

static void compare_hold(struct known *k)
{
	const struct book_hold *hold;
	struct ush_reply y;
	int64_t fee = 0;

	hold = book_find(book, k->hold);
	if (hold != NULL)
		k->user = hold->user;
	y = query(k);
	hold = book_find(book, k->hold);
	/* Its end is not decided yet. */
	if (y.status == USH_STATUS_EXPIRED || y.status == USH_STATUS_RETRY)
		return;
	if (y.status != USH_STATUS_OK) {
		CHECK_EQ(y.status, USH_STATUS_NO_HOLD);
		CHECK(hold == NULL || is_over(hold));
		return;
	}
	CHECK(hold != NULL);
	if (hold == NULL)
		return;
	CHECK_EQ(hold->state, y.state);
	CHECK_EQ(hold->version, y.hold_version);
	CHECK_EQ(book_amount(hold), y.amount);
	CHECK_EQ(hold->deadline_us, y.deadline_ns / 1000);
	for (uint32_t i = 0; i < hold->leg_count; i++) {
		/* 5 % of 1,000 or 3,333, and 1.00. */
		for (uint32_t bit = 0; bit < SEATS; bit++) {
			if ((hold->leg[i].mask >> bit & 1) != 0)
				fee += bit >= 7 ? 267 : 150;
		}
	}
	CHECK_EQ(hold->fee, fee);
}

static void compare_rows(void)
{
	struct {
		struct ush_extension_header header;
		uint64_t room[ROWS + 1];
	} pad = {{.type = USH_EXTENSION_PAD, .size = sizeof(pad)}, {0}};
	const uint8_t *data;
	uint64_t mask;

	ask_with((struct ush_request){.op = USH_OP_QUERY_SECTION}, &pad, sizeof(pad));
	CHECK_EQ(harness.reply_count, 1);
	data = harness.out.send[0].data + harness.out.send[0].payload_at;
	for (uint32_t i = 0; i < ROWS; i++) {
		memcpy(&mask, data + sizeof(struct ush_reply) + 8 + 8 * i, 8);
		CHECK_EQ(book->event[EVENT]->row[i].free, mask);
	}
}

static void compare(void)
{
	struct ush_event_view view;
	uint32_t sold = 0;

	/* What is due ends first. */
	for (uint32_t i = 0; i < 60; i++) {
		harness_turn(&harness, 0, NULL, 0);
		follow();
	}
	compare_rows();
	for (uint32_t i = 0; i < known_count; i++) {
		if (i + 60 >= known_count || below(20) == 0)
			compare_hold(&known[i]);
	}
	for (uint32_t i = 0; i < book->bucket_count; i++) {
		for (const struct book_hold *at = book->bucket[i]; at != NULL; at = at->next) {
			if (at->state == USH_HOLD_STATE_SOLD ||
				at->state == USH_HOLD_STATE_REFUNDING)
				sold += book_seats(at);
		}
	}
	CHECK_EQ(book->event[EVENT]->sold, sold);
	take();
	CHECK(ush_engine_event_view(harness.engine, EVENT, &view));
	CHECK_EQ(view.status == USH_EVENT_STATUS_SOLD_OUT, told_sold_out);
}

/* ---- steps ---- */

static void reserve(void)
{
	uint64_t user = 1 + below(USERS);
	struct {
		struct ush_extension_header header;
		struct ush_leg leg;
	} extra = {{.type = USH_EXTENSION_LEGS, .size = sizeof(extra), .value = 1}, {0}};
	struct ush_request r = {.op = USH_OP_RESERVE,
		.user = user,
		.request_id = ++ids[user],
		.row = (uint16_t)below(ROWS),
		.mask = (uint64_t)(1 + below(7)) << below(SEATS - 3),
		.hold_ms = 200 + below(5000)};
	struct ush_reply y;

	extra.leg.row = (uint16_t)((r.row + 1) % ROWS);
	extra.leg.mask = (uint64_t)(1 + below(3)) << below(SEATS - 2);
	y = below(2) == 0 ? ask(r) : ask_with(r, &extra, sizeof(extra));
	know(&y, user);
}

static void reserve_best(void)
{
	uint64_t user = 1 + below(USERS);
	struct ush_request r = {.op = USH_OP_RESERVE_BEST,
		.user = user,
		.request_id = ++ids[user],
		.arg = 1 + below(4)};
	struct {
		struct ush_extension_header header;
		uint64_t room[16];
	} pad = {{.type = USH_EXTENSION_PAD, .size = sizeof(pad)}, {0}};
	struct ush_reply y = ask_with(r, &pad, sizeof(pad));

	know(&y, user);
}

/* Some seats of one row of a hold. */
static uint64_t part_of(const struct book_hold *hold, uint16_t *row)
{
	const struct book_leg *leg = &hold->leg[below(hold->leg_count)];
	uint64_t mask = leg->mask & ush_random_next(&chance);

	*row = leg->row;
	return mask != 0 ? mask : leg->mask;
}

static void change(struct known *k, const struct book_hold *hold)
{
	struct ush_request r = {.user = k->user, .hold = k->hold, .request_id = ++ids[k->user]};
	struct {
		struct ush_extension_header header;
		struct ush_leg leg;
	} give = {{.type = USH_EXTENSION_GIVE, .size = sizeof(give), .value = 1}, {0}};

	switch (below(4)) {
	case 0:
		r.op = USH_OP_RELEASE;
		ask(r);
		break;
	case 1:
		r.op = USH_OP_RELEASE;
		r.mask = part_of(hold, &r.row);
		ask(r);
		break;
	case 2:
		r.op = USH_OP_EXTEND;
		r.hold_ms = 6000 + below(1000);
		ask(r);
		break;
	default:
		r.op = USH_OP_SWAP;
		r.row = (uint16_t)below(ROWS);
		r.mask = 1ull << below(SEATS);
		give.leg.mask = part_of(hold, &give.leg.row);
		ask_with(r, &give, sizeof(give));
	}
}

static void pay(struct known *k, const struct book_hold *hold)
{
	struct ush_request r = {.user = k->user, .hold = k->hold, .section = hold->version};
	uint8_t state = hold->state;

	if (state == USH_HOLD_STATE_HELD && below(3) == 0) {
		r.op = USH_OP_CONFIRM;
		r.section = 0;
	} else if (state == USH_HOLD_STATE_HELD) {
		r.op = USH_OP_PAY_BEGIN;
		r.arg = (uint64_t)book_amount(hold);
		r.hold_ms = 5000;
	} else if (state == USH_HOLD_STATE_PAYING) {
		r.op = USH_OP_PAY_END;
		r.arg = below(4) == 0 ? USH_OUTCOME_FAILED : USH_OUTCOME_SUCCEEDED;
	} else if (below(3) == 0) {
		r.op = USH_OP_TRANSFER;
		r.arg = 1 + below(USERS);
	} else {
		r.op = USH_OP_REFUND_BEGIN;
		if (below(3) != 0)
			r.mask = part_of(hold, &r.row);
	}
	ask(r);
}

/* Ends a refund as it was begun. */
static void refund_end(struct known *k, const struct book_hold *hold)
{
	struct ush_request r = {.op = USH_OP_REFUND_END,
		.user = k->user,
		.hold = k->hold,
		.section = hold->version,
		.arg = below(4) == 0 ? USH_OUTCOME_FAILED : USH_OUTCOME_SUCCEEDED};
	uint32_t marked = 0, whole = 0;

	for (uint32_t i = 0; i < hold->leg_count; i++) {
		marked += hold->leg[i].refunding != 0;
		whole += hold->leg[i].refunding == hold->leg[i].mask;
		if (hold->leg[i].refunding == 0)
			continue;
		r.row = hold->leg[i].row;
		r.mask = hold->leg[i].refunding;
	}
	if (whole == hold->leg_count) {
		r.row = 0;
		r.mask = 0;
	}
	CHECK(marked == 1 || whole == hold->leg_count);
	ask(r);
}

static void wait_list(void)
{
	uint64_t user = 1 + below(USERS);
	struct ush_request r = {.op = USH_OP_WAIT_LIST,
		.user = user,
		.request_id = ++ids[user],
		.arg = 1 + below(3)};
	struct ush_reply y;

	if (below(4) == 0)
		r.arg = (uint64_t)USH_WAIT_ACTION_LEAVE << 32;
	ask(r);
	r.arg = (uint64_t)USH_WAIT_ACTION_LOOK << 32;
	y = ask(r);
	if (y.status == USH_STATUS_OK && y.state == USH_HOLD_STATE_HELD)
		know(&y, user);
}

static void block(void)
{
	ask((struct ush_request){.op = below(2) == 0 ? USH_OP_BLOCK : USH_OP_UNBLOCK,
		.row = (uint16_t)below(ROWS),
		.mask = 1ull << below(SEATS),
		.arg = below(2)});
}

static void step(void)
{
	struct known *k = NULL;
	const struct book_hold *hold = NULL;
	uint32_t what = below(16);

	if (known_count != 0) {
		k = &known[known_count - 1 - below(known_count < 40 ? known_count : 40)];
		hold = book_find(book, k->hold);
	}
	if (hold != NULL)
		k->user = hold->user;
	if (what == 0)
		harness.now_ns += below(2500) * MS;
	if (what < 4)
		reserve();
	else if (what < 6)
		reserve_best();
	else if (what == 6)
		block();
	else if (what < 9)
		wait_list();
	else if (hold == NULL || is_over(hold))
		return;
	else if (hold->state == USH_HOLD_STATE_REFUNDING)
		refund_end(k, hold);
	else if (what < 12 && hold->state == USH_HOLD_STATE_HELD)
		change(k, hold);
	else
		pay(k, hold);
}

/* ---- tests ---- */

static void begin(void)
{
	struct ush_engine_limits limits;
	static struct ush_venue_row rows[ROWS];
	const struct ush_venue_tier tiers[2] = {{.price = 1000}, {.price = 3333}};
	const struct ush_venue_section section = {.row_first = 0, .row_count = ROWS};
	struct harness_venue venue = {.header = {.magic = USH_VENUE_MAGIC,
					      .version = USH_VENUE_VERSION,
					      .tier_count = 2,
					      .section_count = 1,
					      .row_count = ROWS,
					      .hold_ms = 4000,
					      .hold_ms_max = 8000,
					      .user_seats_max = 14,
					      .currency = "EUR",
					      .name = "book"},
		.tiers = tiers,
		.sections = &section,
		.rows = rows};
	size_t bytes;
	void *image;

	for (uint32_t i = 0; i < ROWS; i++)
		rows[i] = (struct ush_venue_row){.seats = (1 << SEATS) - 1,
			.house = i == 2 ? 6 : 0,
			.tier_mask = {0x380, 0, 0},
			.tier = {0, 1, 0, 0}};
	harness_limits_small(&limits);
	limits.hold_count = 64;
	harness_open(&harness, &limits);
	replay_init(&replay);
	book = book_open(&source);
	image = harness_image_of(&venue, &bytes);
	replay_image(&replay, EVENT, image, bytes);
	harness_event_of(&harness, EVENT, image, bytes);
	follow();
}

/* Goal: the book is the engine's truth, at any moment and after any restart of the follower. */
static void test_orders_book_agrees_with_the_engine(void)
{
	ush_random_init(&chance, tap_seed(20261128));
	begin();
	for (uint32_t i = 0; i < STEPS && tap_failures_here == 0; i++) {
		step();
		if (below(8) == 0)
			harness_turn(&harness, 0, NULL, 0);
		if (below(20) == 0)
			take();
		if (below(25) == 0)
			compare();
		if (below(150) == 0)
			restart();
	}
	if (tap_failures_here == 0)
		compare();
	for (uint32_t op = 0; op < 256; op++) {
		if (done[op] != 0)
			printf("# op %u: %llu OK\n", op, (unsigned long long)done[op]);
	}
}

/* Goal: a cancelled event names each of its orders once. */
static void test_orders_book_cancellation_names_every_order(void)
{
	struct ush_request r = {.op = USH_OP_EVENT_STATUS, .arg = USH_EVENT_STATUS_CANCELLED};
	uint32_t orders = 0, told = 0;
	struct book_out out;

	take();
	for (uint32_t i = 0; i < book->bucket_count; i++) {
		for (const struct book_hold *at = book->bucket[i]; at != NULL; at = at->next)
			orders += at->state == USH_HOLD_STATE_SOLD ||
				  at->state == USH_HOLD_STATE_REFUNDING;
	}
	CHECK(orders > 0);
	CHECK_EQ(ask(r).status, USH_STATUS_OK);
	CHECK_EQ(book_take(book, &out), 0);
	for (uint32_t i = 0; i < out.change_count; i++)
		told += strcmp(out.change[i].kind, "order.cancelled") == 0;
	keep_changes(&out);
	CHECK_EQ(told, orders);
	book_out_free(&out);
	/* Not every seed sells out: the last two are compared with the engine, and told over HTTP
	 * in tests/system/test_hooks_turns.py. */
	CHECK_EQ(kinds_seen | 3ull << (KINDS - 2), (1ull << KINDS) - 1);
}

/* Goal: records that cannot be are refused, with the sequence; fees that do not fit, too. */
static void test_orders_book_refuses_contradictions(void)
{
	struct ush_record r = {.sequence = 77,
		.type = USH_RECORD_TYPE_CONFIRM,
		.run_count = 1,
		.event = EVENT,
		.user = 1,
		.hold = 12345,
		.version = 2};
	struct ush_message message = {.text = ""};
	struct book_terms terms = {.fee_ppm = UINT32_MAX};
	int64_t fee;

	CHECK_EQ((uint64_t)-book_apply(book, &r, 1, 0, &message), USH_ECORRUPT);
	CHECK(strstr(message.text, "77") != NULL);
	r.event = 9;
	CHECK_EQ((uint64_t)-book_apply(book, &r, 1, 0, &message), USH_ECORRUPT);
	CHECK_EQ((uint64_t)-book_fee(&terms, INT64_MAX / 2, &fee), USH_ERANGE);
	CHECK_EQ(book_fee(&terms, USH_TIER_PRICE_MAX, &fee), 0);
	terms = (struct book_terms){.fee_fixed = 7, .fee_ppm = 50000};
	CHECK_EQ(book_fee(&terms, 1010, &fee), 0);
	CHECK_EQ(fee, 58); /* 50.5 rounded half up, and 7 */
}

int main(void)
{
	TAP_RUN(test_orders_book_agrees_with_the_engine);
	TAP_RUN(test_orders_book_cancellation_names_every_order);
	TAP_RUN(test_orders_book_refuses_contradictions);
	book_close(book);
	replay_free(&replay);
	harness_close(&harness);
	free(table);
	return tap_end();
}
