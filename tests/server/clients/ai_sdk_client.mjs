// AI SDK: both of its OpenAI models, system, several turns, streaming, tools that are offered, objects.
import assert from "node:assert"
import { createOpenAI } from "@ai-sdk/openai"
import { Output, generateText, jsonSchema, streamText, tool } from "ai"

const openai = createOpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "none" })
const rex = "My dog is called Rex.", prompt = "What is my dog called?", maxRetries = 0
const inputSchema = jsonSchema({ type: "object", properties: { city: { type: "string" } } })
const tools = { weather: tool({ description: "The weather", inputSchema, execute: async () => "sunny" }) }
for (const model of [openai.responses("rxt"), openai.chat("rxt")]) {
  const first = await generateText({ model, system: rex, prompt, tools, maxRetries })
  assert.match(first.text, /Rex/)
  const stream = streamText({ model, system: rex, prompt, maxRetries })
  let text = ""
  for await (const piece of stream.textStream) text += piece
  assert.equal(text, first.text)
  const said = await generateText({ model, prompt: rex, maxRetries })
  const asked = [{ role: "user", content: rex }, ...said.response.messages, { role: "user", content: prompt }]
  assert.match((await generateText({ model, messages: asked, maxRetries })).text, /Rex/)
  if (process.argv[3] === "json") {
    const schema = jsonSchema({ type: "object", properties: { name: { type: "string" } }, required: ["name"], additionalProperties: false })
    const found = await generateText({ model, prompt: rex, output: Output.object({ schema }), maxRetries })
    assert.equal(typeof found.output.name, "string")
  }
}
const first = await generateText({ model: openai.responses("rxt"), prompt: rex, maxRetries })
const { responseId } = first.providerMetadata.openai
const providerOptions = { openai: { previousResponseId: responseId } }
assert.match((await generateText({ model: openai.responses("rxt"), prompt, providerOptions, maxRetries })).text, /Rex/)
console.log("works")
