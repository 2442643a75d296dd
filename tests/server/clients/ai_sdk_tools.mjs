// AI SDK: its own loop of tool calls in several steps, with both of its models, streamed and not.
import assert from "node:assert"
import { createOpenAI } from "@ai-sdk/openai"
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai"

const openai = createOpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "none" })
const called = []
const inputSchema = jsonSchema({ type: "object", properties: { a: { type: "integer" } }, required: ["a"], additionalProperties: false })
const add = tool({ description: "One more", inputSchema, execute: async ({ a }) => { called.push(a); return String(a + 1) } })
const providerOptions = { openai: { reasoningEffort: "low", forceReasoning: true } }
for (const model of [openai.responses("rxt"), openai.chat("rxt")]) {
  const asked = { model, prompt: "my name", tools: { add }, stopWhen: stepCountIs(3), providerOptions, maxRetries: 0 }
  const whole = await generateText(asked)
  assert.equal(whole.text, "Ann")
  assert.equal(whole.steps.length, 3)
  assert.deepEqual(whole.steps[0].toolResults.map(each => each.output), ["8"])
  const stream = streamText(asked)
  let text = ""
  for await (const piece of stream.textStream) text += piece
  assert.equal(text, "helloAnn")
  assert.deepEqual(called, [7, 7, 7, 7])
  called.length = 0
}
console.log("works")
