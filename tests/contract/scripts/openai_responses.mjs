// openai's Node client by the Responses API: create, stream, a tool loop of two steps with reasoning, errors.

import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BRIDGE_BASE_URL, apiKey: process.env.BRIDGE_API_KEY, maxRetries: 0 });
const model = "claude-sonnet-5-5";
const parameters = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city", "days"],
};
const tools = [{ type: "function", name: "weather", parameters, strict: false }];

const cases = {
  create: async () => {
    const response = await client.responses.create({ model, input: "[sandbox:echo] Hello there" });
    return [response.output_text, response.status];
  },
  stream: async () => {
    const stream = client.responses.stream({ model, input: "[sandbox:echo] Hello there, you" });
    let text = "";
    stream.on("response.output_text.delta", (event) => (text += event.delta));
    return [text || (await stream.finalResponse(), text), (await stream.finalResponse()).output_text];
  },
  tool_loop: async () => {
    const input = [{ role: "user", content: "In 3 days? Use `weather`." }];
    let response;
    for (let step = 0; step < 2; step++) {
      const request = { model, tools, input, reasoning: { effort: "low", summary: "auto" } };
      response = await client.responses.stream(request).finalResponse();
      input.push(...response.output);
      for (const item of response.output.filter((one) => one.type === "function_call")) {
        const { city, days } = JSON.parse(item.arguments);
        const output = `${city} in ${days} days: 22 degrees`;
        input.push({ type: "function_call_output", call_id: item.call_id, output });
      }
    }
    return [input.map((item) => item.type ?? "message"), response.output_text];
  },
  a_stream_that_breaks: async () => {
    try {
      const stream = await client.responses.create({ model, input: "[sandbox:cut] a b c d e f", stream: true });
      for await (const _ of stream);
    } catch (problem) {
      return [problem.constructor.name, problem.code];
    }
  },
};

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
