// OpenAI's Agents SDK for Node: both of its models, instructions, several turns, streaming.
import assert from "node:assert"
import { Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, run, setTracingDisabled } from "@openai/agents"
import OpenAI from "openai"

setTracingDisabled(true)
const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "none", maxRetries: 0 })
const rex = "My dog is called Rex.", dog = "What is my dog called?"
for (const model of [new OpenAIResponsesModel(client, "rxt"), new OpenAIChatCompletionsModel(client, "rxt")]) {
  const agent = new Agent({ name: "dogs", instructions: rex, model })
  const first = await run(agent, dog)
  assert.match(first.finalOutput, /Rex/)
  const again = await run(agent, first.history.concat({ role: "user", content: dog }))
  assert.match(again.finalOutput, /Rex/)
  const stream = await run(agent, dog, { stream: true })
  let text = ""
  for await (const piece of stream.toTextStream()) text += piece
  assert.equal(text, first.finalOutput)
}
const plain = new Agent({ name: "plain", model: new OpenAIResponsesModel(client, "rxt") })
const first = await run(plain, rex)
const next = await run(plain, dog, { previousResponseId: first.lastResponseId })
assert.match(next.finalOutput, /Rex/)
console.log("works")
