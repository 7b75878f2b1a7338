// Vercel's AI SDK with both of its providers: text, streams, tool loops, objects, images, reasoning, errors.

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, generateText, isStepCount, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [baseURL, apiKey] = [process.env.BRIDGE_BASE_URL, process.env.BRIDGE_API_KEY];
const [EMULATED, FORCED] = ["claude-sonnet-5-5", "claude-haiku-5-5"];
const PNG =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

const compatible = createOpenAICompatible({ name: "bridge", baseURL, apiKey, includeUsage: true });
const structured = createOpenAICompatible({ name: "bridge", baseURL, apiKey, supportsStructuredOutputs: true });
const openai = createOpenAI({ baseURL, apiKey });
const providers = {
  compatible: (id) => compatible(id),
  openai: (id) => openai.chat(id),
  responses: (id) => openai(id), // the provider's default
};
const steps = (stepCountIs ?? isStepCount)(4);

const tools = {
  weather: tool({
    description: "The weather of a city",
    inputSchema: z.object({ city: z.string(), days: z.number().int() }),
    execute: async ({ city, days }) => `${city} in ${days} days: 22 degrees`,
  }),
  calendar: tool({ description: "Today", inputSchema: z.object({}), execute: async () => "Monday" }),
};
const book = z.object({ title: z.string(), pages: z.number().int(), authors: z.array(z.object({ name: z.string() })) });

async function each(ask) {
  const made = {};
  for (const [name, model] of Object.entries(providers)) made[name] = await ask(model, name);
  return made;
}

async function drained(result) {
  let text = "";
  for await (const piece of result.textStream) text += piece;
  return text;
}

const cases = {
  text: () =>
    each(async (model) => {
      const answer = await generateText({ model: model(EMULATED), prompt: "[sandbox:echo] Hello there" });
      return [answer.text, answer.finishReason, answer.usage.outputTokens];
    }),
  stream: () =>
    each(async (model) => {
      const result = streamText({ model: model(EMULATED), prompt: "[sandbox:echo] Hello there, you" });
      return [await drained(result), await result.finishReason, (await result.usage).outputTokens];
    }),
  tool_loop: () =>
    each(async (model) => {
      const prompt = "In 3 days? Use `weather` and `calendar`.";
      const answer = await generateText({ model: model(EMULATED), tools, stopWhen: steps, prompt });
      const calls = answer.steps.flatMap((step) => step.toolCalls.map((call) => [call.toolName, call.input]));
      return [calls, answer.steps.length, answer.text];
    }),
  tool_loop_streamed: () =>
    each(async (model) => {
      const prompt = "In 3 days? Use `weather` and `calendar`.";
      const result = streamText({ model: model(EMULATED), tools, stopWhen: steps, prompt });
      const text = await drained(result);
      const calls = (await result.steps).flatMap((step) => step.toolCalls.map((call) => [call.toolName, call.input]));
      return [calls, (await result.steps).length, text];
    }),
  forced: () =>
    each(async (model) => {
      const made = [];
      for (const id of [EMULATED, FORCED])
        for (const toolChoice of ["required", { type: "tool", toolName: "weather" }]) {
          const answer = await generateText({ model: model(id), tools, toolChoice, prompt: "Hello" });
          made.push([answer.toolCalls.map((call) => call.toolName), answer.finishReason]);
        }
      return made;
    }),
  objects: async () => {
    const made = {};
    for (const [name, model] of Object.entries({ structured, openai: providers.openai, responses: providers.responses })) {
      const request = { model: model(EMULATED), output: Output.object({ schema: book }), prompt: "A book, 300 pages" };
      const result = streamText(request);
      await drained(result);
      made[name] = [(await generateText(request)).output, await result.output];
    }
    return made;
  },
  json: async () =>
    (await generateText({ model: compatible(EMULATED), output: Output.json(), prompt: "[sandbox:fence] JSON" })).output,
  image: () =>
    each(async (model) => {
      const content = [
        { type: "text", text: "What is this?" },
        { type: "image", image: Buffer.from(PNG, "base64"), mediaType: "image/png" },
      ];
      return (await generateText({ model: model(EMULATED), messages: [{ role: "user", content }] })).text;
    }),
  reasoning: async () => {
    const request = { model: compatible(EMULATED), providerOptions: { bridge: { reasoningEffort: "low" } } };
    const result = streamText({ ...request, prompt: "[sandbox:echo] Hello" });
    const text = await drained(result);
    const whole = await generateText({ ...request, prompt: "[sandbox:echo] Hello" });
    const messages = [
      { role: "user", content: "[sandbox:echo] Hello" },
      ...whole.response.messages,
      { role: "user", content: "[sandbox:echo] Go on" },
    ];
    const next = await generateText({ ...request, messages });
    return [text, await result.reasoningText, whole.reasoningText, next.text];
  },
  reasoning_loop: async () => {
    const made = [];
    for (const store of [undefined, false]) {
      const options = { forceReasoning: true, reasoningEffort: "low", reasoningSummary: "auto", store };
      const prompt = "In 3 days? Use `weather` and `calendar`.";
      const request = { model: openai(EMULATED), tools, stopWhen: steps, prompt, providerOptions: { openai: options } };
      const result = streamText(request);
      const text = await drained(result);
      const thoughts = (await result.steps).map((step) => (step.reasoningText ?? "").slice(0, 14));
      made.push([text, thoughts, (await result.steps)[1].response.headers["x-bridge-compat"] ?? ""]);
    }
    return made;
  },
  error: () =>
    each(async (model) => {
      try {
        await generateText({ model: model("gpt-none"), prompt: "Hello", maxRetries: 0 });
      } catch (problem) {
        return [APICallError.isInstance(problem), problem.statusCode, problem.message];
      }
    }),
  a_stream_that_breaks: () =>
    each(async (model) => {
      let told = null;
      const prompt = "[sandbox:error_midstream] a b c d e f";
      const result = streamText({ model: model(EMULATED), prompt, onError: ({ error }) => (told = error) });
      for await (const part of result.fullStream) if (part.type === "error") told = part.error;
      return told?.message ?? JSON.stringify(told);
    }),
};

globalThis.AI_SDK_LOG_WARNINGS = false;
const results = {};
for (const [name, run] of Object.entries(cases)) {
  try {
    results[name] = { value: await run() };
  } catch (problem) {
    console.error(name, problem);
    results[name] = { error: `${problem.name}: ${problem.message}` };
  }
}
console.log(JSON.stringify(results));
