/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hold is sold at the price of the seats it has when it is sold, by the attempt that was paid,
 * and whatever else was captured is given back.
 *
 * Models: dataplane/loop/decide_pay.c: decide_pay_begin, decide_pay_end, decide_cut,
 *         open_versioned; loop/decide_hold.c: decide_transition, decide_release; loop/turn.c:
 *         show_step, set_state; apply/apply.c; and of the control plane the rule of the design. The
 *         attempt that a result names is, in the code, the version that PAYING has.
 *
 * One hold of two seats at 1 each. The user gives one seat back, or lets the hold end, at any time.
 * Two payments are tried, each by a control plane of its own, as when one dies and another takes
 * over: it looks, asks for PAYING, has the provider capture, and tells the result; or takes silence
 * for a failure and says so, though the money may still come. Results are told again until they
 * are answered, and once more after that. A result that no longer fits is refunded.
 *
 * Left out, and why that loses no fault: the user's lock (expiry.pml shows that the word alone
 * decides when the word looked at is the word swapped, as here); seats and rows (release.pml);
 * crash of the box (replay follows the durable sequence, see burst.pml, and checks the amounts).
 *
 * @right
 * @shortcut NO_VERSION breaks old_price: PAYING does not compare the version that was priced
 * @shortcut RELEASE_PAYING breaks old_price: seats may be given back while PAYING
 * @shortcut NO_ATTEMPT breaks sold_unpaid: any payment sells what is PAYING, also one given back
 * @shortcut SOLD_FIRST breaks sold_unpaid: SOLD before the capture is known
 * @shortcut NO_REFUND breaks kept_money: a capture that came too late is forgotten
 */
#define SLOTS 9
/* Replay refuses most of the short-cuts, too; here it is to be seen what comes of them. */
#if defined(NO_VERSION) || defined(RELEASE_PAYING) || defined(NO_ATTEMPT) || defined(SOLD_FIRST)
#define CHECK_REPLAY skip
#else
#define CHECK_REPLAY assert(!replay_refused)
#endif

mtype = { HELD, BUSY, PAYING, SOLD, ENDED };
mtype = { NOTHING, PENDING, CAPTURED, FAILED };
mtype = { GIVE, END, PAY, FAIL, SELL };

/* The word, and what hangs on it. */
mtype state = HELD;
byte version = 1, seats = 2;
byte attempt, amount;

mtype log_type[SLOTS];
byte log_version[SLOTS], log_amount[SLOTS];
byte reserved, durable;
mtype disk_state = HELD;
byte disk_version = 1, disk_seats = 2, disk_amount;

/* The provider, by attempt. */
mtype capture[3] = NOTHING;
byte captured[3];
bool refunded[3];
byte sold_by, finished;
bool old_price, sold_unpaid, kept_money, replay_refused;

/* Reserves and publishes; the new word is stored by the caller. in: v. */
inline write(kind, sum)
{
	atomic { at = reserved; reserved++ }
	atomic { log_version[at] = v + 1; log_amount[at] = sum; log_type[at] = kind; at = 0 }
}

inline store(new)
{
	atomic { state = new; version = v + 1; v = 0 }
}

proctype user()
{
	byte v, at;
#ifdef RELEASE_PAYING
	mtype back;
#endif

	/* Partial release. */
	if
#ifdef RELEASE_PAYING
	:: atomic { state == HELD || state == PAYING -> back = state; v = version; state = BUSY };
		write(GIVE, 0);
		seats = 1;
		store(back)
#else
	:: atomic { state == HELD -> v = version; state = BUSY };
		write(GIVE, 0);
		seats = 1;
		store(HELD)
#endif
	:: true
	fi;
	/* Release of the whole, or expiry. */
	if
	:: atomic { state == HELD -> v = version; state = BUSY };
		write(END, 0);
		store(ENDED)
	:: true
	fi;
	finished++
}

/* A result, told until the hold is not BUSY. */
inline tell(me, good)
{
	if
	:: atomic { state == PAYING &&
#ifdef NO_ATTEMPT
			true ->
#else
			attempt == me ->
#endif
		v = version; state = BUSY };
		if
		:: good ->
			write(SELL, captured[me]);
			atomic {
				old_price = captured[me] != seats;
				assert(!old_price);
				sold_by = me
			}
			store(SOLD)
		:: else -> write(FAIL, 0); store(HELD)
		fi
	:: atomic { state != BUSY &&
#ifdef NO_ATTEMPT
			state != PAYING ->
#else
			!(state == PAYING && attempt == me) ->
#endif
#ifndef NO_REFUND
		if
		:: good && sold_by != me -> refunded[me] = true
		:: else
		fi;
#endif
		skip }
	fi
}

proctype control(byte me)
{
	byte v, at, seen, sum;

	/* Look. */
	atomic { state == HELD || state == ENDED || state == SOLD -> seen = version; sum = seats };
	/* Ask for PAYING. */
	if
#ifdef NO_VERSION
	:: atomic { state == HELD ->
#else
	:: atomic { state == HELD && version == seen ->
#endif
		v = version; state = BUSY }
	:: atomic { state != BUSY &&
#ifdef NO_VERSION
			state != HELD ->
#else
			!(state == HELD && version == seen) ->
#endif
		goto done }
	fi;
	write(PAY, sum);
	atomic { attempt = me; amount = sum }
#ifdef SOLD_FIRST
	atomic { sold_by = me }
	write(SELL, sum);
	store(SOLD);
#else
	store(PAYING);
#endif
	atomic { captured[me] = sum; capture[me] = PENDING }
	if
	:: atomic { capture[me] == CAPTURED || capture[me] == FAILED }
	:: capture[me] == PENDING -> tell(me, false) /* silence taken for a failure */
	fi;
	atomic { capture[me] == CAPTURED || capture[me] == FAILED };
	tell(me, (capture[me] == CAPTURED));
	tell(me, (capture[me] == CAPTURED));
done:	atomic { finished++; seen = 0; sum = 0 }
}

proctype provider()
{
end:	do
	:: capture[1] == PENDING -> if :: capture[1] = CAPTURED :: capture[1] = FAILED fi
	:: capture[2] == PENDING -> if :: capture[2] = CAPTURED :: capture[2] = FAILED fi
	od
}

#define KEPT(a) (capture[a] == CAPTURED && !refunded[a])

/* When all is said: what is sold is paid, and nothing else is. */
proctype audit()
{
	atomic { finished == 3 ->
		sold_unpaid = state == SOLD && !KEPT(sold_by);
		assert(!sold_unpaid);
		kept_money = (KEPT(1) && !(state == SOLD && sold_by == 1)) ||
			(KEPT(2) && !(state == SOLD && sold_by == 2));
		assert(!kept_money) }
}

proctype writer()
{
end:	do
	:: atomic { durable < SLOTS && log_type[durable] != 0 ->
		replay_refused = disk_version + 1 != log_version[durable];
		CHECK_REPLAY;
		disk_version = log_version[durable];
		if
		:: log_type[durable] == GIVE -> disk_seats = 1; replay_refused = disk_state != HELD
		:: log_type[durable] == END -> replay_refused = disk_state != HELD; disk_state = ENDED
		:: log_type[durable] == PAY ->
			replay_refused = disk_state != HELD || log_amount[durable] != disk_seats;
			disk_amount = log_amount[durable];
			disk_state = PAYING
		:: log_type[durable] == FAIL -> replay_refused = disk_state != PAYING; disk_state = HELD
		:: log_type[durable] == SELL ->
			replay_refused = disk_state != PAYING || log_amount[durable] != disk_amount;
			disk_state = SOLD
		fi;
		CHECK_REPLAY;
		durable++ }
	od
}

init {
	atomic {
		run user();
		run control(1);
		run control(2);
		run provider();
		run audit();
		run writer()
	}
}
