/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who they are, and what they are like. Every number here stands in docs/onsale.md with its source
 * or the word guess. What somebody does depends on the seed and on who it is, never on what the box
 * did before: so the same crowd meets each set of defences.
 */
#include "onsale.h"

#define MINUTE (60u * ONSALE_TICKS_S)
/* Accounts of a script or broker by device, address, farm. */
#define SCRIPT_DEVICE 40u
#define SCRIPT_ADDRESS 400u
#define SCRIPT_FARM 4000u
#define BROKER_DEVICE 6u
#define BROKER_ADDRESS 4u
#define BROKER_FARM 1000u
/* SipHash tries a second of a farm: 16 and 32 cores. */
#define SCRIPT_TRIES 320000000ull
#define BROKER_TRIES 640000000ull
/* People behind one address of a mobile network. */
#define SHARED_ADDRESS 200u

/* Quantiles: value at each percentage, straight lines between them. */
struct quantile {
	uint32_t percent;
	int32_t value;
};

/* Seconds before (-) and after the opening. */
static const struct quantile fan_arrival[] = {{0, -1800}, {10, -1500}, {30, -600}, {50, -240},
	{70, -60}, {85, 0}, {95, 600}, {100, 3600}};
static const struct quantile script_arrival[] = {{0, -1800}, {100, -1780}};
static const struct quantile broker_arrival[] = {{0, -1800}, {100, -300}};
/* Ticks from the call to the exchange, and from there to the first attempt. */
static const struct quantile come[] = {{0, 10}, {50, 40}, {80, 150}, {95, 900}, {100, 6000}};
static const struct quantile browse[] = {{0, 80}, {10, 200}, {50, 600}, {90, 1500}, {100, 2900}};
/* Ticks from the hold to paying. */
static const struct quantile checkout[] = {
	{0, 300}, {10, 600}, {50, 1200}, {90, 2700}, {100, 5400}};
/* Per cent who still come, by minutes waited. */
static const struct quantile patience[] = {{0, 80}, {30, 60}, {60, 40}, {100, 20}};
/* Thousand tries a second of a fan's device. */
static const struct quantile speed[] = {{0, 500}, {20, 1500}, {80, 5000}, {100, 20000}};

static int64_t at(const struct quantile *table, uint64_t part, uint64_t whole)
{
	const struct quantile *q = table;
	uint64_t scaled = part * 100;
	int64_t low, high;

	while (scaled >= (uint64_t)q[1].percent * whole && q[1].percent < 100)
		q++;
	low = (int64_t)(q[0].percent * whole);
	high = (int64_t)(q[1].percent * whole);
	scaled = ush_min64(scaled, (uint64_t)high);
	return q[0].value +
	       ((int64_t)q[1].value - q[0].value) * ((int64_t)scaled - low) / (high - low);
}

uint64_t onsale_draw(const struct onsale_crowd *crowd, uint32_t who, uint32_t what, uint64_t bound)
{
	uint64_t x =
		ush_mix64(crowd->seed + 0x9e3779b97f4a7c15ull * (((uint64_t)what << 32 | who) + 1));

	return ((x >> 32) * bound) >> 32;
}

static bool chance(const struct onsale_crowd *crowd, uint32_t who, uint32_t what, uint32_t percent)
{
	return onsale_draw(crowd, who, what, 100) < percent;
}

static int64_t drawn(
	const struct onsale_crowd *crowd, uint32_t who, uint32_t what, const struct quantile *table)
{
	return at(table, onsale_draw(crowd, who, what, 1u << 20), 1u << 20);
}

void onsale_crowd_init(struct onsale_crowd *crowd, uint64_t seed, uint32_t users, uint32_t seats)
{
	/* Four in ten accounts are no fans: of these six are scripts', three brokers'. */
	uint64_t bots = (uint64_t)users * 4 / 10;
	uint64_t farms;

	memset(crowd, 0, sizeof(*crowd));
	crowd->seed = ush_mix64(seed + 1);
	crowd->count = users;
	crowd->from[ONSALE_FAN] = 0;
	crowd->from[ONSALE_SCRIPT] = (uint32_t)(users - bots);
	crowd->from[ONSALE_BROKER] = (uint32_t)(users - bots + bots * 6 / 10);
	crowd->from[ONSALE_CLICKER] = (uint32_t)(users - bots + bots * 9 / 10);
	crowd->from[ONSALE_CLASSES] = users;
	/* So many that 40 % of them, with three seats each, take half of the house. */
	crowd->invited = ush_min64(
		((uint64_t)seats << 32) * 10 / 24 / ush_max64(crowd->from[ONSALE_SCRIPT], 1),
		UINT32_MAX);
	farms = users / BROKER_FARM + 2;
	crowd->farm_until_ns = calloc(2 * farms, sizeof(uint64_t));
	USH_ASSERT(crowd->farm_until_ns != NULL);
}

enum onsale_class onsale_class(const struct onsale_crowd *crowd, uint32_t who)
{
	uint32_t class = ONSALE_FAN;

	while (class + 1 < ONSALE_CLASSES && who >= crowd->from[class + 1])
		class ++;
	return class;
}

const char *onsale_class_name(enum onsale_class class)
{
	static const char *const names[] = {
#define X(name, text) text,
		ONSALE_CLASS_EACH(X)
#undef X
	};

	return names[class];
}

uint64_t onsale_user(uint32_t who)
{
	return ush_mix64((uint64_t)who + 1);
}

bool onsale_is_invited(const struct onsale_crowd *crowd, uint32_t who)
{
	uint64_t draw = onsale_draw(crowd, who, ONSALE_DRAW_INVITED, 1ull << 32);
	uint64_t fans = crowd->from[ONSALE_SCRIPT];
	uint64_t others = ush_max64(crowd->count - fans, 1);

	if (onsale_class(crowd, who) == ONSALE_FAN)
		return draw < crowd->invited;
	/* One in twenty of those invited is no fan. */
	return draw < crowd->invited * fans / others / 19;
}

uint64_t onsale_device(const struct onsale_crowd *crowd, uint32_t who)
{
	enum onsale_class class = onsale_class(crowd, who);
	uint64_t at = who - crowd->from[class], kind = (uint64_t)(class + 1) << 56;

	switch (class) {
	case ONSALE_SCRIPT:
		return kind | at / SCRIPT_DEVICE;
	case ONSALE_BROKER:
		return kind | at / BROKER_DEVICE;
	case ONSALE_FAN:
		/* One in two hundred shares with nine others, one in ten with another one. */
		if (onsale_draw(crowd, who / 10, ONSALE_DRAW_HOUSEHOLD, 200) == 0)
			return kind | 1ull << 55 | at / 10;
		if (onsale_draw(crowd, who / 2, ONSALE_DRAW_HOUSEHOLD, 10) == 1)
			return kind | 1ull << 54 | at / 2;
		return kind | at;
	default:
		return kind | at;
	}
}

void onsale_address(const struct onsale_crowd *crowd, uint32_t who, uint8_t address[16])
{
	enum onsale_class class = onsale_class(crowd, who);
	uint64_t at = who - crowd->from[class], size = crowd->from[class + 1] - crowd->from[class];
	uint64_t shared = size * 4 / 10 / SHARED_ADDRESS + 1;

	memset(address, 0, 16);
	/* Four in ten fans share an address: those come at any time. */
	if (class == ONSALE_FAN && at % 10 < 4) {
		uint32_t ipv4 = 0x64400000u + (uint32_t)(at / 10 * 4 % shared);

		address[10] = address[11] = 0xff;
		for (uint32_t i = 0; i < 4; i++)
			address[12 + i] = (uint8_t)(ipv4 >> (24 - 8 * i));
		return;
	}
	if (class == ONSALE_SCRIPT)
		at /= SCRIPT_ADDRESS;
	else if (class == ONSALE_BROKER)
		at /= BROKER_ADDRESS;
	address[0] = 0x20;
	address[1] = 0x01;
	address[2] = (uint8_t) class;
	for (uint32_t i = 0; i < 4; i++)
		address[4 + i] = (uint8_t)(at >> (24 - 8 * i));
}

uint32_t onsale_arrival(const struct onsale_crowd *crowd, enum onsale_class class, uint32_t k)
{
	uint64_t size = crowd->from[class + 1] - crowd->from[class];
	const struct quantile *table = class == ONSALE_SCRIPT   ? script_arrival
				       : class == ONSALE_BROKER ? broker_arrival
								: fan_arrival;
	const struct quantile *q = table;
	int64_t from, to;

	/* As at(), in ticks. */
	while ((uint64_t)k * 100 >= q[1].percent * size && q[1].percent < 100)
		q++;
	from = (int64_t)(q[0].percent * size);
	to = (int64_t)(q[1].percent * size);
	return (uint32_t)(((int64_t)q[0].value + ONSALE_LOBBY_S) * ONSALE_TICKS_S +
			  ((int64_t)q[1].value - q[0].value) * ONSALE_TICKS_S *
				  ((int64_t)k * 100 - from) / (to - from));
}

bool onsale_shows(const struct onsale_crowd *crowd, uint32_t who, uint32_t waited, uint32_t *delay)
{
	if (onsale_class(crowd, who) != ONSALE_FAN) {
		*delay = ONSALE_TICKS_S;
		return true;
	}
	*delay = (uint32_t)drawn(crowd, who, ONSALE_DRAW_DELAY, come);
	return chance(crowd, who, ONSALE_DRAW_SHOW,
		(uint32_t)at(patience, ush_min64(waited / MINUTE, 100), 100));
}

uint32_t onsale_browse(const struct onsale_crowd *crowd, uint32_t who)
{
	if (onsale_class(crowd, who) != ONSALE_FAN)
		return ONSALE_TICKS_S;
	if (chance(crowd, who, ONSALE_DRAW_LOOK, 25))
		return ONSALE_NOBODY;
	return (uint32_t)drawn(crowd, who, ONSALE_DRAW_BROWSE, browse);
}

uint32_t onsale_party(const struct onsale_crowd *crowd, uint32_t who)
{
	uint32_t draw = (uint32_t)onsale_draw(crowd, who, ONSALE_DRAW_PARTY, 100);

	if (onsale_class(crowd, who) != ONSALE_FAN)
		return ONSALE_USER_SEATS;
	/* 3.0 on the average. */
	return draw < 6 ? 1 : draw < 36 ? 2 : draw < 58 ? 3 : 4;
}

uint32_t onsale_checkout(const struct onsale_crowd *crowd, uint32_t who, enum onsale_state *act)
{
	bool fan = onsale_class(crowd, who) == ONSALE_FAN;
	uint32_t draw = (uint32_t)onsale_draw(crowd, who, ONSALE_DRAW_KEEP, 100);

	*act = ONSALE_PAY;
	if (!fan) {
		/* Parked, to be offered elsewhere, and left to expire. */
		if (draw < 5)
			*act = ONSALE_GONE;
		return 5 * ONSALE_TICKS_S;
	}
	if (draw < 10)
		*act = ONSALE_GONE;
	else if (draw < 20)
		*act = ONSALE_GIVE_BACK;
	return (uint32_t)drawn(crowd, who, ONSALE_DRAW_CHECKOUT, checkout);
}

bool onsale_payment(const struct onsale_crowd *crowd, uint32_t who, uint32_t attempt)
{
	uint32_t fails = onsale_class(crowd, who) == ONSALE_FAN ? (attempt <= 1 ? 8 : 30) : 3;

	return !chance(crowd, who, ONSALE_DRAW_PAYMENT + 100 * attempt, fails);
}

bool onsale_pays_again(const struct onsale_crowd *crowd, uint32_t who, uint32_t attempt)
{
	return attempt < 3 && chance(crowd, who, ONSALE_DRAW_AGAIN + 100 * attempt, 80);
}

uint32_t onsale_work(
	struct onsale_crowd *crowd, uint32_t who, uint32_t bits, uint64_t now_ns, uint32_t attempt)
{
	enum onsale_class class = onsale_class(crowd, who);
	uint64_t mean = 1ull << (bits + ONSALE_WORK_SHIFT), tries, ns, *until;
	uint32_t at = who - crowd->from[class];

	/* Evenly from 0 to twice the mean, never so that ns would overflow. */
	tries = onsale_draw(
		crowd, who, ONSALE_DRAW_WORK + 100 * attempt, 2 * ush_min64(mean, 1u << 30));
	if (class == ONSALE_FAN || class == ONSALE_CLICKER) {
		ns = tries * 1000000 / (uint64_t)drawn(crowd, who, ONSALE_DRAW_SPEED, speed);
		return (uint32_t)(ns / ONSALE_TICK_NS);
	}
	until = &crowd->farm_until_ns[class == ONSALE_SCRIPT ? 2 * (at / SCRIPT_FARM)
							     : 2 * (at / BROKER_FARM) + 1];
	ns = tries * ONSALE_SECOND / (class == ONSALE_SCRIPT ? SCRIPT_TRIES : BROKER_TRIES);
	*until = ush_max64(*until, now_ns) + ns;
	return (uint32_t)((*until - now_ns) / ONSALE_TICK_NS);
}
