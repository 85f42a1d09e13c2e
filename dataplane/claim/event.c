/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Venue images to events: everything in an image is checked before anything is believed.
 */
#include <string.h>

#include "claim/image.h"

#define EVENT_SLOTS (USH_EVENT_ID_MAX + 1u)
/* Arena beside the rows: headers, sections, prices, tallies and the index of the events. An event
 * of 20,000 seats (400 rows, 20 sections, 6 tiers) needs about 2.5 KiB + 64 bytes a loop; a row
 * with several tiers 2 to 5 segments of 2 to 5 bytes. */
#define ARENA_EXTRA_PER_ROW 48u
#define ARENA_EXTRA (16u << 20)

/* Free seats in per cent below which single ones may be left, when the venue file does not say. */
#define EXEMPT_PERCENT 5u

static size_t align_up(size_t bytes)
{
	return (bytes + USH_CACHE_LINE - 1) & ~(size_t)(USH_CACHE_LINE - 1);
}

static size_t table_bytes(void)
{
	return align_up(EVENT_SLOTS * sizeof(_Atomic(struct ush_event *)));
}

size_t ush_inventory_bytes(uint32_t row_count, uint32_t loop_count)
{
	size_t rows = (size_t)row_count * (sizeof(struct ush_row) + ARENA_EXTRA_PER_ROW);

	return table_bytes() + align_up(rows) + ARENA_EXTRA +
	       (size_t)loop_count * sizeof(struct ush_tally) * 4096;
}

void ush_inventory_init(
	struct ush_inventory *inventory, void *memory, uint32_t row_count, uint32_t loop_count)
{
	USH_ASSERT(((uintptr_t)memory & (USH_CACHE_LINE - 1)) == 0);
	inventory->events = memory;
	inventory->arena = (uint8_t *)memory + table_bytes();
	inventory->arena_bytes = ush_inventory_bytes(row_count, loop_count) - table_bytes();
	inventory->arena_used = 0;
	inventory->loop_count = loop_count;
}

uint64_t ush_image_digest(const void *image, size_t image_bytes)
{
	/* Names an image, proves nothing: the CRC inside guards against rot. */
	const struct ush_key key = {0x7573686572696d67ull, 0x6469676573743031ull};

	return ush_siphash(&key, image, image_bytes);
}

static int bad(struct ush_message *message, const char *what)
{
	ush_message_set(message, "venue image: %s; compile the venue file again", what);
	return -USH_ECORRUPT;
}

static int check_crc(const uint8_t *bytes, size_t size, uint32_t crc)
{
	const size_t at = offsetof(struct ush_venue_header, crc);
	const uint32_t zero = 0;
	uint32_t sum = ush_crc32c(0, bytes, at);

	sum = ush_crc32c(sum, &zero, sizeof(zero));
	sum = ush_crc32c(sum, bytes + at + sizeof(zero), size - at - sizeof(zero));
	return sum == crc ? 0 : -USH_ECORRUPT;
}

static int check_header(
	struct image *image, const void *data, size_t size, struct ush_message *message)
{
	struct ush_venue_header *h = &image->header;
	uint64_t expect;

	if (size < sizeof(*h))
		return bad(message, "shorter than its header");
	memcpy(h, data, sizeof(*h));
	if (h->magic != USH_VENUE_MAGIC)
		return bad(message, "not a venue image (wrong magic)");
	if (h->version != USH_VENUE_VERSION) {
		ush_message_set(message, "venue image: version %u, this box reads %u", h->version,
			USH_VENUE_VERSION);
		return -USH_EVERSION;
	}
	if (h->file_bytes != size)
		return bad(message, "its length is not the one it names: cut short?");
	if (check_crc(data, size, h->crc) != 0)
		return bad(message, "its checksum is wrong");
	if (h->tier_count < 1 || h->tier_count > USH_EVENT_TIERS_MAX)
		return bad(message, "tier count outside 1 to 255");
	if (h->section_count < 1 || h->section_count > USH_EVENT_SECTIONS_MAX)
		return bad(message, "section count outside 1 to 4096");
	if (h->row_count < 1 || h->row_count > USH_EVENT_ROWS_MAX)
		return bad(message, "row count outside 1 to 65536");
	if (h->hold_ms < USH_HOLD_MS_MIN || h->hold_ms > h->hold_ms_max ||
		h->hold_ms_max > USH_HOLD_MS_MAX)
		return bad(message, "hold times outside their range");
	if (h->user_seats_max < 1)
		return bad(message, "seats per user outside 1 to 65535");
	if (h->cool_down_ms > USH_COOL_DOWN_MS_MAX)
		return bad(message, "cool-down outside 0 to a day");
	if ((h->best & 7) >= USH_BEST_OBJECTIVE_COUNT ||
		(h->best >> 3 & 3) >= USH_BEST_SPLIT_COUNT ||
		(h->best >> 5 & 3) >= USH_BEST_ORPHANS_COUNT || (h->best & 128) != 0 ||
		h->best >> 8 > 101)
		return bad(message, "unknown rules for choosing seats");
	expect = sizeof(*h) + (uint64_t)h->tier_count * sizeof(struct ush_venue_tier) +
		 (uint64_t)h->section_count * sizeof(struct ush_venue_section) +
		 (uint64_t)h->row_count * sizeof(struct ush_venue_row);
	if (expect > size || size - expect != h->label_bytes)
		return bad(message, "its parts do not add up to its length");
	image->tiers = (const uint8_t *)data + sizeof(*h);
	image->sections = image->tiers + h->tier_count * sizeof(struct ush_venue_tier);
	image->rows = image->sections + h->section_count * sizeof(struct ush_venue_section);
	return 0;
}

static int check_row(const struct image *image, const struct ush_venue_row *row, uint32_t index,
	struct ush_message *message)
{
	struct ush_venue_section section;

	if (row->seats == 0)
		return bad(message, "a row without seats");
	if (((row->house | row->accessible | row->companion | row->tier_mask[0] |
		     row->tier_mask[1] | row->tier_mask[2]) &
		    ~row->seats) != 0)
		return bad(message, "a mask names a seat that does not exist");
	if ((row->tier_mask[0] & row->tier_mask[1]) != 0 ||
		((row->tier_mask[0] | row->tier_mask[1]) & row->tier_mask[2]) != 0)
		return bad(message, "a seat has two tiers");
	for (uint32_t i = 0; i < USH_ROW_TIERS; i++) {
		if (row->tier[i] >= image->header.tier_count)
			return bad(message, "an unknown tier");
	}
	if (row->section >= image->header.section_count)
		return bad(message, "an unknown section");
	memcpy(&section, image->sections + row->section * sizeof(section), sizeof(section));
	if (index < section.row_first || index - section.row_first >= section.row_count)
		return bad(message, "a row outside its section");
	if ((row->accessible & row->companion) != 0)
		return bad(message, "a seat both accessible and companion");
	if ((row->flags & ~7u) != 0 || (row->flags & 3) == 3 || (row->flags & 6) == 4 ||
		((row->flags & 2) != 0 && index == section.row_first))
		return bad(message, "unknown row flags");
	return 0;
}

/* ret: the tier of all seats of the row, or -1: they have several. */
static int only_tier(const struct ush_venue_row *row)
{
	uint64_t others = row->tier_mask[0] | row->tier_mask[1] | row->tier_mask[2];

	if (others == 0)
		return row->tier[0];
	for (uint32_t i = 0; i < USH_ROW_TIERS - 1; i++)
		if (row->tier_mask[i] == row->seats)
			return row->tier[i + 1];
	return -1;
}

/* A section is one area of one price, or has none: who is offered a place is found by section. */
static int check_area(const struct ush_venue_row *first, const struct ush_venue_row *row,
	struct ush_message *message)
{
	if (((first->flags ^ row->flags) & 1) != 0)
		return bad(message, "an area shares its section with rows");
	if ((row->flags & 1) != 0 && (only_tier(row) < 0 || only_tier(row) != only_tier(first)))
		return bad(message, "an area has two prices");
	return 0;
}

static int check_body(const struct image *image, struct ush_message *message)
{
	const struct ush_venue_header *h = &image->header;
	struct ush_venue_row first = {0};
	uint64_t seats = 0, next = 0;

	for (uint32_t i = 0; i < h->section_count; i++) {
		struct ush_venue_section section;
		memcpy(&section, image->sections + i * sizeof(section), sizeof(section));
		if (section.row_first != next || section.row_count < 1 ||
			section.row_count > h->row_count - next)
			return bad(message, "sections do not follow one another");
		next += section.row_count;
	}
	if (next != h->row_count)
		return bad(message, "sections do not cover all rows");
	for (uint32_t i = 0; i < h->tier_count; i++) {
		struct ush_venue_tier tier;
		memcpy(&tier, image->tiers + i * sizeof(tier), sizeof(tier));
		if (tier.price > USH_TIER_PRICE_MAX || tier.reserved0 != 0)
			return bad(message, "a price above 67108863 minor units");
	}
	for (uint32_t i = 0; i < h->row_count; i++) {
		struct ush_venue_row row;
		memcpy(&row, image->rows + (size_t)i * sizeof(row), sizeof(row));
		int error = check_row(image, &row, i, message);
		if (error != 0)
			return error;
		if (i == 0 || row.section != first.section)
			first = row;
		error = check_area(&first, &row, message);
		if (error != 0)
			return error;
		seats += ush_popcount64(row.seats);
	}
	if (seats != h->seat_count)
		return bad(message, "the seat count is not the number of seats");
	return 0;
}

int image_check(struct image *image, const void *data, size_t size, struct ush_message *message)
{
	int error = check_header(image, data, size, message);

	return error != 0 ? error : check_body(image, message);
}

void *image_arena(struct ush_inventory *inventory, size_t bytes)
{
	size_t at = inventory->arena_used;

	bytes = align_up(bytes);
	if (bytes > inventory->arena_bytes - at)
		return NULL;
	inventory->arena_used = at + bytes;
	memset(inventory->arena + at, 0, bytes);
	return inventory->arena + at;
}

uint32_t image_price(const struct image *image, uint32_t tier)
{
	struct ush_venue_tier source;

	memcpy(&source, image->tiers + tier * sizeof(source), sizeof(source));
	return source.price;
}

struct ush_prices *image_prices(struct ush_inventory *inventory, const struct image *image)
{
	uint32_t count = image->header.tier_count;
	size_t bytes = sizeof(struct ush_prices) + count * sizeof(uint32_t);
	struct ush_prices *prices = image_arena(inventory, bytes + count);

	if (prices == NULL)
		return NULL;
	prices->tier_count = count;
	prices->order = (uint8_t *)prices + bytes;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = i;

		prices->price[i] = image_price(image, i);
		/* Cheapest first; of equal price the lower number. */
		for (; at > 0 && prices->price[prices->order[at - 1]] > prices->price[i]; at--)
			prices->order[at] = prices->order[at - 1];
		prices->order[at] = (uint8_t)i;
	}
	return prices;
}

bool image_rows(struct ush_inventory *inventory, const struct image *image, uint32_t first,
	struct ush_rows *part)
{
	uint32_t count = image->header.row_count - first;

	part->first = first;
	part->count = count;
	part->rows = image_arena(inventory, count * sizeof(*part->rows));
	part->aside = image_arena(inventory, count * sizeof(*part->aside));
	part->aside_marks = image_arena(inventory, count * sizeof(*part->aside_marks));
	part->aside_rows = image_arena(inventory, (count + 63) / 64 * sizeof(*part->aside_rows));
	if (part->rows == NULL || part->aside == NULL || part->aside_marks == NULL ||
		part->aside_rows == NULL)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		const struct ush_venue_row *rows = (const void *)image->rows;
		struct ush_row *row = &part->rows[i];
		uint64_t house = image_house(image, first + i);

		*row = ush_row_of_image(rows, first + i);
		atomic_init(&row->free, row->seats & ~house);
		atomic_init(&row->house, house);
	}
	return true;
}

uint64_t image_house(const struct image *image, uint32_t row)
{
	struct ush_venue_row source;

	memcpy(&source, image->rows + (size_t)row * sizeof(source), sizeof(source));
	return source.house;
}

struct ush_venue_section *image_sections(struct ush_inventory *inventory, const struct image *image)
{
	size_t bytes = image->header.section_count * sizeof(struct ush_venue_section);
	struct ush_venue_section *sections = image_arena(inventory, bytes);

	if (sections != NULL)
		memcpy(sections, image->sections, bytes);
	return sections;
}

struct ush_best *image_best(struct ush_inventory *inventory, const struct image *image)
{
	const struct ush_venue_header *h = &image->header;
	const struct ush_venue_row *rows = (const void *)image->rows;
	struct ush_best *best =
		image_arena(inventory, ush_best_bytes(rows, h->row_count, h->tier_count));

	if (best != NULL)
		ush_best_init(best, rows, h->row_count, h->tier_count);
	return best;
}

uint32_t image_exempt(const struct ush_venue_header *h)
{
	uint32_t percent = h->best >> 8 != 0 ? h->best / 256u - 1 : EXEMPT_PERCENT;

	return (uint32_t)((uint64_t)h->seat_count * percent / 100);
}

static void fill_event(struct ush_event *event, uint32_t id, const struct image *image)
{
	const struct ush_venue_header *h = &image->header;
	uint32_t house = 0;

	event->id = id;
	event->tier_count = h->tier_count;
	atomic_init(&event->row_count, h->row_count);
	atomic_init(&event->section_count, h->section_count);
	atomic_init(&event->seat_count, h->seat_count);
	event->hold_ms = h->hold_ms;
	event->hold_ms_max = h->hold_ms_max;
	event->user_seats_max = h->user_seats_max;
	event->hold_budget_s = h->hold_budget_s;
	event->cool_down_ms = h->cool_down_ms;
	/* Changes of its holds are looked at once more before they are logged. */
	atomic_init(&event->keeps, ush_event_is_timed(event));
	event->best_objective = h->best & 7;
	event->best_split = h->best >> 3 & 3;
	event->best_orphans = h->best >> 5 & 3;
	event->best_rules = h->best;
	atomic_init(&event->best_exempt, image_exempt(h));
	atomic_init(&event->status, USH_EVENT_STATUS_DRAFT);
	event->rows = event->base.rows;
	event->row_base = event->base.count;
	atomic_init(&event->parts, &event->base);
	for (uint32_t i = 0; i < h->row_count; i++)
		house += ush_popcount64(image_house(image, i));
	atomic_init(&event->house_count, house);
}

int ush_event_build(struct ush_inventory *inventory, uint32_t event_id, const void *data,
	size_t size, struct ush_event **out, struct ush_message *message)
{
	size_t mark = inventory->arena_used;
	struct ush_event *event;
	struct image image;
	bool fits;
	int error;

	if (event_id < 1 || event_id > USH_EVENT_ID_MAX) {
		ush_message_set(
			message, "event id %u is outside 1 to %u", event_id, USH_EVENT_ID_MAX);
		return -USH_EINVAL;
	}
	error = image_check(&image, data, size, message);
	if (error != 0)
		return error;
	event = image_arena(inventory, sizeof(*event));
	fits = event != NULL && image_rows(inventory, &image, 0, &event->base);
	if (fits) {
		atomic_init(&event->sections, image_sections(inventory, &image));
		event->prices_first = image_prices(inventory, &image);
		atomic_init(&event->prices, event->prices_first);
		event->tally =
			image_arena(inventory, inventory->loop_count * sizeof(*event->tally));
		atomic_init(&event->best, image_best(inventory, &image));
		fits = event->sections != NULL && event->prices_first != NULL &&
		       event->tally != NULL && event->best != NULL;
	}
	if (!fits) {
		inventory->arena_used = mark;
		ush_message_set(message,
			"no room for the %u rows of event %u: raise [limits] rows and restart",
			image.header.row_count, event_id);
		return -USH_EFULL;
	}
	event->tally_count = inventory->loop_count;
	event->digest = ush_image_digest(data, size);
	event->arena_mark = mark;
	fill_event(event, event_id, &image);
	event->arena_end = inventory->arena_used;
	*out = event;
	return 0;
}

void ush_event_discard(struct ush_inventory *inventory, struct ush_event *event)
{
	USH_ASSERT(ush_inventory_event(inventory, event->id) != event);
	if (event->arena_end == inventory->arena_used)
		inventory->arena_used = event->arena_mark;
}

void ush_event_publish(struct ush_inventory *inventory, struct ush_event *event)
{
	atomic_store_explicit(&inventory->events[event->id], event, memory_order_release);
}
