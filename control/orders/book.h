/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the journal's records have made of holds, orders and free seats: the read model in memory,
 * and what each step of it changes in the tables.
 *
 * Owns:  holds that are not over, events with their free seats; what was changed since last asked.
 * Reads: records in journal order; venue images.
 * Never: databases, clocks, threads; usherd.
 */
#ifndef USH_ORDERS_BOOK_H
#define USH_ORDERS_BOOK_H

#include "orders/orders.h"

/* What a seat costs beside its price: fixed, and millionths of its price, rounded half up. */
struct book_terms {
	uint32_t fee_fixed;
	uint32_t fee_ppm;
};

struct book_leg {
	uint64_t mask;
	uint64_t refunding;
	uint32_t amount; /* of the seats that are still there */
	uint16_t row;
};

struct book_hold {
	struct book_hold *next; /* in its bucket */
	uint64_t hold;
	uint64_t number;
	uint64_t user;
	uint64_t sequence;
	uint64_t late_for;
	int64_t fee;
	int64_t refunded;
	int64_t deadline_us;
	int64_t made_us;
	int64_t changed_us;
	int64_t sold_us;
	struct book_terms terms;
	uint32_t event;
	uint16_t version;
	uint16_t attempts;
	uint16_t prices; /* number of its list */
	uint8_t state;
	uint8_t leg_count;
	bool offer;
	bool dirty;
	struct book_leg leg[USH_LEG_COUNT_MAX];
};

struct book_prices {
	uint32_t number;
	uint32_t tier_count;
	uint32_t price[USH_EVENT_TIERS_MAX];
};

struct book_row {
	uint64_t free;
	uint64_t sequence; /* of the record that changed it last */
	bool dirty;
};

struct book_event {
	uint32_t id;
	uint64_t digest;
	uint8_t status;
	uint32_t changes;
	int64_t seat_count;
	int64_t sold;
	int64_t free; /* seats in row[].free */
	int64_t held; /* seats of holds that are not over and not sold */
	char currency[4];
	struct book_terms terms; /* of new holds */
	void *image;
	size_t image_bytes;
	const struct ush_venue_row *seats; /* in the image */
	uint32_t row_count;
	struct book_row *row;
	struct book_prices **list;
	uint32_t list_count;
	bool dirty;
};

/* ---- what changed ---- */

struct book_item {
	uint64_t hold;
	uint16_t row;
	uint8_t bit;
	uint8_t state; /* as orders_items.state */
	int64_t price;
	int64_t fee;
};

struct book_change {
	int64_t number;
	uint64_t sequence;
	int64_t time_us;
	const char *kind;
	uint32_t event;
	uint64_t hold;
	uint64_t user;
	char *body;
};

struct book_row_change {
	uint32_t event;
	uint32_t row;
	uint64_t free;
	uint64_t sequence;
};

struct book_event_change {
	uint32_t id;
	uint64_t digest;
	uint8_t status;
	uint32_t changes;
	int64_t seat_count;
	int64_t sold;
	char currency[4];
};

/* A piece of the model on its way to the tables, in the order of the journal. */
struct book_out {
	struct book_hold *hold; /* copies; `next` means nothing */
	uint32_t hold_count, hold_size;
	/* Ids whose former holders, if any, make room. */
	uint64_t *fresh;
	uint32_t fresh_count, fresh_size;
	struct book_item *item;
	uint32_t item_count, item_size;
	struct book_change *change;
	uint32_t change_count, change_size;
	struct book_row_change *row;
	uint32_t row_count, row_size;
	struct book_event_change *event;
	uint32_t event_count, event_size;
	/* Price lists that came into being: event, number, digest of the image they are from. */
	struct book_list_change {
		uint32_t event;
		uint32_t number;
		uint64_t digest;
	} * list;
	uint32_t list_count, list_size;
};

void book_out_free(struct book_out *out);

/* ---- the book ---- */

struct book_source {
	void *context;
	/* The venue image of a digest (malloced). ret: 0; err: message. */
	int (*image)(void *context, uint32_t event, uint64_t digest, void **image, size_t *bytes,
		struct ush_message *message);
	/* What an event's new holds cost from a sequence on. NULL: nothing. */
	struct book_terms (*terms)(void *context, uint32_t event, uint64_t sequence);
};

struct book {
	struct book_source source;
	struct book_hold **bucket;
	uint32_t bucket_count;
	uint32_t hold_count;
	struct book_event *event[USH_EVENT_ID_MAX + 1];
	int64_t change_number; /* the newest */
	int64_t time_us;       /* of the block at hand */
	bool keep_over;        /* holds that are over stay in memory */
	struct book_hold **dirty;
	uint32_t dirty_count, dirty_size;
	uint32_t *dirty_event;
	uint32_t dirty_event_count, dirty_event_size;
	struct book_out out;
};

/* ret: NULL: no memory. */
struct book *book_open(const struct book_source *source);
void book_close(struct book *book);

/*
 * Applies one run. time_ns: of its block. ret: 0; err: -USH_ECORRUPT: it contradicts the book,
 * -USH_ENOMEM, those of the source; message. After an error the book is of no further use.
 */
int book_apply(struct book *book, const struct ush_record *records, uint32_t count,
	uint64_t time_ns, struct ush_message *message);

/* Hands over what was changed since the last call. out: the caller frees it. */
int book_take(struct book *book, struct book_out *out);

/* Where the parts of an image are, which usherd has checked when it took it. */
struct book_image {
	const struct ush_venue_header *header;
	const struct ush_venue_tier *tiers;
	const struct ush_venue_section *sections;
	const struct ush_venue_row *rows;
};
/* in: image: 8-byte aligned. err: -USH_ECORRUPT with a message. */
int book_image_open(
	struct book_image *parts, const void *image, size_t bytes, struct ush_message *message);

/* Puts in what the tables say, before the first record. ret: 0, -USH_ENOMEM, or of the image. */
int book_put_hold(struct book *book, const struct book_hold *hold);
int book_put_event(struct book *book, uint32_t id, uint64_t digest, uint8_t status,
	uint32_t changes, int64_t sold, struct ush_message *message);
int book_put_list(struct book *book, uint32_t event, uint32_t number, uint64_t digest,
	struct ush_message *message);
void book_put_row(
	struct book *book, uint32_t event, uint32_t row, uint64_t free, uint64_t sequence);

/* ret: NULL: it has none. */
struct book_hold *book_find(const struct book *book, uint64_t hold);
/* Adds to the hash; the book owns it. */
void book_add(struct book *book, struct book_hold *hold);
void book_remove(struct book *book, struct book_hold *hold);

/* ---- seats and money ---- */

/* ret: seats that the hold keeps from others and that are not sold. */
uint32_t book_unsold(const struct book_hold *hold);
/* ret: true if every seat on sale is sold, as usherd's status SOLD_OUT has it: none is free, and
 * none in a hold that may still end unsold. */
bool book_sold_out(const struct book_event *event);

/* ret: the price of a seat by a list of the event; 0 if either is unknown. */
int64_t book_seat_price(const struct book_event *event, uint32_t list, uint32_t row, uint32_t bit);
/* err: -USH_ERANGE. */
int book_fee(const struct book_terms *terms, int64_t price, int64_t *fee);
int64_t book_amount(const struct book_hold *hold);
uint32_t book_seats(const struct book_hold *hold);
/*
 * Splits a leg's amount over its seats: by the list, and what does not add up (there should be
 * none) goes to the last seat. out: price, fee: by bit. err: -USH_ERANGE.
 */
int book_split(const struct book_event *event, const struct book_hold *hold,
	const struct book_leg *leg, int64_t price[64], int64_t fee[64]);
/* Recomputes hold->fee. err: -USH_ERANGE. */
int book_fee_of(const struct book_event *event, struct book_hold *hold);

#endif /* USH_ORDERS_BOOK_H */
