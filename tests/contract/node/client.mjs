// Makes calls with openai's Node client and prints what came of them. Run by test_openai_node.
//
// stdin   {"options": {"baseURL": …}, "azure": false, "call": "whole", "params": {…}, "leaveAfter": 3 (chunks)}
// stdout  {"answer": …, "requestId": …, "chunks": […], "events": {…}, "error": {…}, "exchanges": […]}

import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import OpenAI, { AzureOpenAI } from "openai";

const order = JSON.parse(await text(process.stdin));
const exchanges = [];
const chunks = [];
const events = {};

// Every exchange as it crossed the wire: the body is kept while the client reads it.
async function recorded(url, init) {
  const response = await fetch(url, init);
  const { pathname, search } = new URL(url);
  const made = {
    method: init.method.toUpperCase(),
    path: pathname + search,
    sent: init.body ?? "",
    status: response.status,
    headers: Object.fromEntries(response.headers),
    parts: [],
    complete: false,
  };
  exchanges.push(made);
  const tee = new TransformStream({
    transform(part, controller) {
      made.parts.push(Buffer.from(part));
      controller.enqueue(part);
    },
    flush() {
      made.complete = true;
    },
  });
  return new Response(response.body.pipeThrough(tee), response);
}

const calls = {
  async whole(client) {
    return client.chat.completions.create(order.params);
  },

  async streamed(client) {
    const stream = await client.chat.completions.create({ ...order.params, stream: true });
    for await (const chunk of stream) {
      chunks.push(chunk);
      if (chunks.length === order.leaveAfter) stream.controller.abort();
    }
  },

  async helped(client) {
    const stream = client.chat.completions.stream(order.params);
    stream.on("chunk", (chunk) => {
      chunks.push(chunk);
      if (chunks.length === order.leaveAfter) stream.abort();
    });
    for (const name of ["connect", "content", "message", "finalContent", "end", "abort", "error"])
      stream.on(name, () => (events[name] = (events[name] ?? 0) + 1));
    return stream.finalChatCompletion();
  },

  async parsed(client) {
    return client.chat.completions.parse(order.params);
  },

  async models(client) {
    const page = await client.models.list({ query: order.params });
    return page.data;
  },

  async model(client) {
    return client.models.retrieve(order.params.id);
  },
};

const Client = order.azure ? AzureOpenAI : OpenAI;
const client = new Client({ maxRetries: 0, ...order.options, fetch: recorded });
const installed = new URL("node_modules/openai/package.json", import.meta.url);
const result = { version: JSON.parse(readFileSync(installed)).version };
try {
  const answer = await calls[order.call](client);
  result.answer = answer;
  result.requestId = answer?._request_id;
} catch (error) {
  if (!(error instanceof OpenAI.OpenAIError)) throw error;
  const { status, code, param, type, requestID, message } = error;
  result.error = { class: error.constructor.name, status, code, param, type, requestID, message };
}
for (const made of exchanges) made.body = Buffer.concat(made.parts.splice(0)).toString("base64");
console.log(JSON.stringify({ ...result, chunks, events, exchanges }));
