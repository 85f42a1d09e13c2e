// SPDX-License-Identifier: Apache-2.0
// Stripe's own client drives usher-sandbox: what it understands, a shop understands. Started by
// tests/system/test_sandbox.py with SANDBOX_PORT; SANDBOX_HOOK is where webhooks are received.
import assert from 'node:assert/strict';
import http from 'node:http';
import {after, before, test} from 'node:test';
import Stripe from 'stripe';

const SECRET = 'whsec_usher';
const options = {host: '127.0.0.1', port: Number(process.env.SANDBOX_PORT), protocol: 'http',
  maxNetworkRetries: 0, telemetry: false};
const stripe = new Stripe('sk_test_usher', options);

async function sandbox(method, path, body) {
  const answer = await fetch(`http://127.0.0.1:${options.port}/_sandbox/${path}`, {method,
    headers: {Authorization: 'Bearer sk_test_usher'}, body: body && JSON.stringify(body)});
  return answer.json();
}

function pay(more = {}, request = {}) {
  return stripe.paymentIntents.create({amount: 1200, currency: 'eur', confirm: true,
    payment_method: 'pm_card_visa', ...more}, request);
}

const manual = {capture_method: 'manual'};

test('create, then confirm: succeeded, with a captured charge', async () => {
  const made = await stripe.paymentIntents.create({amount: 5000, currency: 'EUR',
    metadata: {hold: 'h1', attempt: '1'}, payment_method_types: ['card']});
  assert.equal(made.status, 'requires_payment_method');
  assert.equal(made.currency, 'eur');
  const paid = await stripe.paymentIntents.confirm(made.id,
    {payment_method: 'pm_card_mastercard', expand: ['latest_charge']});
  assert.equal(paid.status, 'succeeded');
  assert.equal(paid.amount_received, 5000);
  assert.equal(paid.latest_charge.captured, true);
  assert.equal(paid.latest_charge.payment_method_details.card.brand, 'mastercard');
  assert.deepEqual((await stripe.paymentIntents.retrieve(made.id)).metadata, {hold: 'h1', attempt: '1'});
});

test('manual capture, in part, and never twice', async () => {
  const held = await pay({...manual, amount: 3000});
  assert.equal(held.status, 'requires_capture');
  assert.equal(held.amount_capturable, 3000);
  await assert.rejects(stripe.paymentIntents.capture(held.id, {amount_to_capture: 3001}),
    (e) => e instanceof Stripe.errors.StripeInvalidRequestError && e.code === 'amount_too_large');
  const taken = await stripe.paymentIntents.capture(held.id, {amount_to_capture: 2000});
  assert.equal(taken.status, 'succeeded');
  assert.equal(taken.amount_received, 2000);
  await assert.rejects(stripe.paymentIntents.capture(held.id),
    (e) => e.code === 'payment_intent_unexpected_state' && e.payment_intent.id === held.id);
});

test('cancel: an authorisation is released, what is captured cannot be', async () => {
  const held = await pay(manual);
  const ended = await stripe.paymentIntents.cancel(held.id, {cancellation_reason: 'abandoned'});
  assert.equal(ended.status, 'canceled');
  assert.equal(ended.cancellation_reason, 'abandoned');
  assert.equal((await stripe.charges.retrieve(held.latest_charge)).captured, false);
  await assert.rejects(stripe.paymentIntents.capture(held.id));
  await assert.rejects(stripe.paymentIntents.cancel((await pay()).id),
    (e) => e.code === 'payment_intent_unexpected_state');
});

test('refunds: in part, the rest, and no more', async () => {
  const paid = await pay();
  const part = await stripe.refunds.create({payment_intent: paid.id, amount: 500,
    reason: 'requested_by_customer', metadata: {seat: 'A1'}});
  assert.equal(part.status, 'succeeded');
  await assert.rejects(stripe.refunds.create({payment_intent: paid.id, amount: 701}),
    (e) => e.param === 'amount');
  assert.equal((await stripe.refunds.create({charge: paid.latest_charge})).amount, 700);
  await assert.rejects(stripe.refunds.create({payment_intent: paid.id}),
    (e) => e.code === 'charge_already_refunded');
  const charge = await stripe.charges.retrieve(paid.latest_charge);
  assert.equal(charge.refunded, true);
  assert.equal(charge.amount_refunded, 1200);
  const all = await stripe.refunds.list({payment_intent: paid.id});
  assert.deepEqual(all.data.map((r) => r.amount), [700, 500]);
  assert.equal((await stripe.refunds.retrieve(part.id)).metadata.seat, 'A1');
  await assert.rejects(stripe.refunds.create({payment_intent: (await pay(manual)).id}));
});

test('the same key: the same answer; other parameters or another endpoint: an error', async () => {
  const key = {idempotencyKey: `hold-1-${process.pid}`};
  const first = await pay({}, key);
  const again = await pay({}, key);
  assert.equal(again.id, first.id);
  assert.equal(first.lastResponse.headers['idempotent-replayed'], undefined);
  assert.equal(again.lastResponse.headers['idempotent-replayed'], 'true');
  assert.equal(again.lastResponse.idempotencyKey, key.idempotencyKey);
  assert.notEqual(again.lastResponse.requestId, first.lastResponse.requestId);
  await assert.rejects(pay({amount: 1300}, key), Stripe.errors.StripeIdempotencyError);
  await assert.rejects(stripe.paymentIntents.confirm(first.id, {}, key),
    (e) => e instanceof Stripe.errors.StripeIdempotencyError && e.statusCode === 400);
});

test('the same key replays a failure; a refused parameter keeps nothing', async () => {
  const declined = {idempotencyKey: `hold-2-${process.pid}`};
  const bad = {payment_method: 'pm_card_visa_chargeDeclined'};
  const ids = [];
  for (let i = 0; i < 2; i++)
    await pay(bad, declined).catch((e) => ids.push([e.statusCode, e.payment_intent.id]));
  assert.equal(ids.length, 2);
  assert.deepEqual(ids[0], ids[1]);
  assert.equal(ids[0][0], 402);
  const mended = {idempotencyKey: `hold-3-${process.pid}`};
  await assert.rejects(pay({amount: 10}, mended), (e) => e.code === 'amount_too_small');
  assert.equal((await pay({}, mended)).status, 'succeeded');
});

test('a key under way: 409', async () => {
  await sandbox('POST', 'faults', {kind: 'delay', when: 'before', ms: 400, method: 'POST'});
  const key = {idempotencyKey: `hold-4-${process.pid}`};
  const slow = pay({}, key);
  await new Promise((done) => setTimeout(done, 100));
  await assert.rejects(pay({}, key),
    (e) => e.statusCode === 409 && e.code === 'idempotency_key_in_use');
  assert.equal((await pay({}, key).catch(() => slow)).id, (await slow).id);
});

test('a dropped answer: the retry of the client finds what was done', async () => {
  // The client itself repeats a request once whose connection was reset, and without a key at that.
  await sandbox('POST', 'faults', {kind: 'drop', when: 'after', method: 'POST', times: 2});
  await assert.rejects(pay({metadata: {hold: 'lost'}}), Stripe.errors.StripeConnectionError);
  await sandbox('POST', 'faults', {kind: 'drop', when: 'after', method: 'POST', times: 2});
  const before = (await sandbox('GET', 'books')).charges.length;
  const patient = new Stripe('sk_test_usher', {...options, maxNetworkRetries: 3});
  const paid = await patient.paymentIntents.create({amount: 1200, currency: 'eur', confirm: true,
    payment_method: 'pm_card_visa'});
  assert.equal(paid.status, 'succeeded');
  assert.equal((await sandbox('GET', 'books')).charges.length, before + 1);
});

test('500 after success is replayed; 429 is not', async () => {
  const key = {idempotencyKey: `hold-5-${process.pid}`};
  await sandbox('POST', 'faults', {kind: 'error', when: 'after', method: 'POST'});
  for (let i = 0; i < 2; i++)
    await assert.rejects(pay({metadata: {hold: 'h5'}}, key), Stripe.errors.StripeAPIError);
  const found = (await stripe.paymentIntents.list({limit: 3})).data.filter((i) => i.metadata.hold === 'h5');
  assert.equal(found.length, 1);
  assert.equal(found[0].status, 'succeeded');
  await sandbox('POST', 'faults', {kind: 'rate_limit', method: 'POST'});
  const other = {idempotencyKey: `hold-6-${process.pid}`};
  await assert.rejects(pay({}, other), Stripe.errors.StripeRateLimitError);
  assert.equal((await pay({}, other)).status, 'succeeded');
});

for (const [method, code, decline] of [
  ['pm_card_visa_chargeDeclined', 'card_declined', 'generic_decline'],
  ['pm_card_visa_chargeDeclinedInsufficientFunds', 'card_declined', 'insufficient_funds'],
  ['pm_card_visa_chargeDeclinedLostCard', 'card_declined', 'lost_card'],
  ['pm_card_chargeDeclinedExpiredCard', 'expired_card', 'expired_card'],
  ['pm_card_chargeDeclinedIncorrectCvc', 'incorrect_cvc', 'incorrect_cvc'],
  ['pm_card_chargeDeclinedProcessingError', 'processing_error', 'processing_error']]) {
  test(`declined: ${method}, and the intent can be tried again`, async () => {
    let failed;
    await assert.rejects(pay({payment_method: method}), (e) => {
      failed = e;
      return e instanceof Stripe.errors.StripeCardError && e.code === code && e.decline_code === decline;
    });
    assert.equal(failed.payment_intent.status, 'requires_payment_method');
    assert.equal(failed.payment_intent.last_payment_error.code, code);
    const again = await stripe.paymentIntents.confirm(failed.payment_intent.id,
      {payment_method: 'pm_card_visa'});
    assert.equal(again.status, 'succeeded');
    assert.equal(again.last_payment_error, null);
  });
}

test('3-D Secure: the person says yes, on the page', async () => {
  const asked = await pay({...manual, payment_method: 'pm_card_threeDSecure2Required',
    return_url: 'http://127.0.0.1:9/back?order=1'});
  assert.equal(asked.status, 'requires_action');
  const {url} = asked.next_action.redirect_to_url;
  assert.match(await (await fetch(url)).text(), /button/);
  assert.equal((await fetch(url.replace(/secret=.*/, 'secret=x'))).status, 401);
  const done = await fetch(url, {method: 'POST', redirect: 'manual',
    body: new URLSearchParams({result: 'succeed'})});
  assert.equal(done.status, 303);
  assert.equal(new URL(done.headers.get('location')).searchParams.get('redirect_status'), 'succeeded');
  assert.equal((await stripe.paymentIntents.retrieve(asked.id)).status, 'requires_capture');
});

test('3-D Secure: the person says no; the issuer says no; nobody is there', async () => {
  for (const [method, result, code] of [
    ['pm_card_authenticationRequired', 'fail', 'payment_intent_authentication_failure'],
    ['pm_card_threeDSecureRequiredChargeDeclined', 'succeed', 'card_declined']]) {
    const asked = await pay({payment_method: method});
    assert.equal(asked.next_action.type, 'use_stripe_sdk');
    const after = await sandbox('POST', `payment_intents/${asked.id}/authenticate`, {result});
    assert.equal(after.status, 'requires_payment_method');
    assert.equal(after.last_payment_error.code, code);
  }
  await assert.rejects(pay({payment_method: 'pm_card_authenticationRequired', off_session: true}),
    (e) => e.code === 'authentication_required');
  const left = await pay({payment_method: 'pm_card_threeDSecure2Required'});
  assert.equal((await stripe.paymentIntents.cancel(left.id)).status, 'canceled');
});

test('an authorisation runs out after seven days', async () => {
  const held = await pay(manual);
  await sandbox('POST', 'clock', {advance_s: 7 * 86400 + 1});
  const now = await stripe.paymentIntents.retrieve(held.id);
  assert.equal(now.status, 'canceled');
  assert.equal(now.cancellation_reason, 'automatic');
});

test('a key is forgotten after a day', async () => {
  const key = {idempotencyKey: `hold-7-${process.pid}`};
  const first = await pay({}, key);
  await sandbox('POST', 'clock', {advance_s: 86401});
  assert.notEqual((await pay({}, key)).id, first.id);
});

test('requests that make no sense are refused by name', async () => {
  const wrong = [
    [{currency: 'xxx'}, null, 'currency'], [{amount: 0}, 'parameter_invalid_integer', 'amount'],
    [{amount: 100000000}, 'amount_too_large', 'amount'],
    [{amount: 'x'}, 'parameter_invalid_integer', 'amount'],
    [{currency: undefined}, 'parameter_missing', 'currency'],
    [{payment_method: 'pm_none'}, 'resource_missing', 'payment_method'],
    [{colour: 'red'}, 'parameter_unknown', 'colour'],
    [{capture_method: 'never'}, 'parameter_invalid', 'capture_method'],
    [{return_url: 'javascript:1'}, 'url_invalid', 'return_url'],
    [{payment_method_data: {type: 'card', card: {token: 'tok_x'}}}, null, 'payment_method_data'],
    [{expand: ['customer']}, null, 'expand']];
  for (const [more, code, param] of wrong)
    await assert.rejects(pay(more), (e) => {
      assert.equal(e.param, param);
      assert.equal(e.code ?? null, code);
      assert.match(e.requestId, /^req_/);
      return e instanceof Stripe.errors.StripeInvalidRequestError;
    });
  await assert.rejects(stripe.paymentIntents.retrieve('pi_none'), (e) => e.statusCode === 404);
  await assert.rejects(new Stripe('sk_test_other', options).paymentIntents.list(),
    Stripe.errors.StripeAuthenticationError);
});

test('lists are paged, newest first', async () => {
  const mine = [];
  for (let i = 0; i < 5; i++) mine.unshift((await pay({metadata: {n: String(i)}})).id);
  const seen = [];
  for await (const intent of stripe.paymentIntents.list({limit: 2})) {
    seen.push(intent.id);
    if (seen.length === 5) break;
  }
  assert.deepEqual(seen, mine);
  const back = await stripe.paymentIntents.list({ending_before: mine[3], limit: 2});
  assert.deepEqual(back.data.map((i) => i.id), mine.slice(1, 3));
  assert.equal(back.has_more, true);
});

// ---- webhooks ----

let server;
let received = [];
let answer = 200;

before(async () => {
  server = http.createServer((request, response) => {
    let body = '';
    request.on('data', (part) => { body += part; });
    request.on('end', () => {
      received.push({body, signature: request.headers['stripe-signature'], status: answer});
      response.writeHead(answer);
      response.end();
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
});
after(() => server.close());

async function until(what, ms = 5000) {
  for (const end = Date.now() + ms; Date.now() < end;) {
    if (what()) return;
    await new Promise((done) => setTimeout(done, 20));
  }
  assert.fail(`not in ${ms} ms: ${what}; received ${received.map((r) => JSON.parse(r.body).type)}`);
}

const types = () => received.map((r) => JSON.parse(r.body).type);
const count = (type) => types().filter((t) => t === type).length;

test('webhooks: signed, for the events that are wanted, repeated, duplicated, reordered', async () => {
  const endpoint = await stripe.webhookEndpoints.create({
    url: `http://127.0.0.1:${server.address().port}/hooks?a=1`, enabled_events: ['*']});
  assert.equal(endpoint.secret, SECRET);
  const paid = await pay();
  await stripe.refunds.create({payment_intent: paid.id});
  await until(() => types().includes('charge.refunded') && received.length >= 5);
  const events = received.map((r) => stripe.webhooks.constructEvent(r.body, r.signature, SECRET));
  for (const type of ['payment_intent.created', 'payment_intent.succeeded', 'charge.succeeded',
    'refund.created', 'charge.refunded'])
    assert.equal(events.filter((e) => e.type === type).length, 1, type);
  assert.throws(() => stripe.webhooks.constructEvent(received[0].body + ' ', received[0].signature, SECRET),
    Stripe.errors.StripeSignatureVerificationError);
  assert.throws(() => stripe.webhooks.constructEvent(received[0].body, received[0].signature, 'whsec_other'));
  const kept = await stripe.events.list({limit: 5});
  assert.ok(kept.data.some((e) => e.id === events[0].id));
  assert.equal((await stripe.events.retrieve(events[0].id)).type, events[0].type);

  received = [];
  answer = 500;
  await pay();
  await until(() => received.length >= 3);
  answer = 200;
  await until(() => received.filter((r) => r.status === 200).length === 3);

  received = [];
  await sandbox('POST', 'webhooks', {duplicate: 1, hold: true});
  await pay();
  await sandbox('POST', 'webhooks', {order: 'reverse'});
  await until(() => received.length === 6);
  assert.equal(count('payment_intent.succeeded'), 2);
  assert.equal(types()[0], 'payment_intent.succeeded');
  assert.equal(types()[5], 'payment_intent.created');

  received = [];
  const disputed = await pay({payment_method: 'pm_card_createDispute'});
  await until(() => count('charge.dispute.created') === 1);
  await assert.rejects(stripe.refunds.create({payment_intent: disputed.id}), (e) => e.code === 'charge_disputed');
  const [dispute] = (await stripe.disputes.list({payment_intent: disputed.id})).data;
  assert.equal(dispute.reason, 'fraudulent');
  assert.equal((await stripe.disputes.close(dispute.id)).status, 'lost');
  await until(() => count('charge.dispute.closed') === 1);

  received = [];
  const failing = await pay({payment_method: 'pm_card_refundFail'});
  const refund = await stripe.refunds.create({payment_intent: failing.id});
  assert.equal(refund.status, 'succeeded');
  await sandbox('POST', 'clock', {advance_s: 5});
  await until(() => count('refund.failed') === 1);
  assert.equal((await stripe.refunds.retrieve(refund.id)).status, 'failed');
  assert.equal((await stripe.charges.retrieve(failing.latest_charge)).amount_refunded, 0);
  const slow = await pay({payment_method: 'pm_card_pendingRefund'});
  assert.equal((await stripe.refunds.create({payment_intent: slow.id})).status, 'pending');
  await sandbox('POST', 'clock', {advance_s: 5});
  await until(() => count('refund.updated') === 1);
  await stripe.webhookEndpoints.del(endpoint.id);
});

test('a header that Stripe makes for tests is of the same kind', () => {
  const payload = '{"id":"evt_1","object":"event"}';
  const header = stripe.webhooks.generateTestHeaderString({payload, secret: SECRET});
  assert.match(header, /^t=\d+,v1=[0-9a-f]{64}$/);
});

test('the books agree with themselves, and add up', async () => {
  const books = await sandbox('GET', 'books');
  assert.equal(books.consistent, true);
  const sum = (list, field) => list.reduce((all, one) => all + one[field], 0);
  assert.equal(books.totals.eur.captured, sum(books.payment_intents, 'amount_received'));
  assert.equal(books.totals.eur.refunded - books.totals.eur.refund_failed,
    sum(books.refunds.filter((r) => r.status !== 'failed'), 'amount'));
});
