// openai for Node: responses, its stream helper, chat, conversations.
import assert from "node:assert"
import OpenAI from "openai"

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "none", maxRetries: 0 })
const rex = "My dog is called Rex.", input = "What is my dog called?"
const first = await client.responses.create({ model: "rxt", instructions: rex, input })
assert.match(first.output_text, /Rex/)
const stream = client.responses.stream({ model: "rxt", instructions: rex, input })
let text = ""
for await (const event of stream) if (event.type === "response.output_text.delta") text += event.delta
assert.equal(text, first.output_text)
assert.equal((await stream.finalResponse()).output_text, text)
text = ""
for await (const event of await client.responses.retrieve(first.id, { stream: true }))
  if (event.type === "response.output_text.delta") text += event.delta
assert.equal(text, first.output_text)
const next = await client.responses.create({ model: "rxt", input, previous_response_id: first.id })
assert.match(next.output_text, /Rex/)
const messages = [{ role: "developer", content: rex }, { role: "user", content: input }]
const chat = await client.chat.completions.create({ model: "rxt", messages, stop: null, tools: undefined, n: 1, seed: 3 })
assert.match(chat.choices[0].message.content, /Rex/)
const runner = client.chat.completions.stream({ model: "rxt", messages, logprobs: true })
assert.match(await runner.finalContent(), /Rex/)
const tools = [{ type: "function", function: { name: "f", parameters: {}, function: () => "", parse: JSON.parse } }]
const run = client.chat.completions.runTools({ model: "rxt", messages, tools })
assert.match(await run.finalContent(), /Rex/)
const items = [{ type: "message", role: "user", content: rex }]
const conversation = await client.conversations.create({ metadata: { topic: "demo" }, items })
const told = await client.responses.create({ model: "rxt", input, conversation: conversation.id })
assert.match(told.output_text, /Rex/)
const listed = []
for await (const item of client.conversations.items.list(conversation.id, { order: "asc" })) listed.push(item)
assert.deepEqual(listed.map(item => item.role), ["user", "user", "assistant"])
const one = await client.conversations.items.retrieve(listed[0].id, { conversation_id: conversation.id })
assert.equal(one.content[0].text, rex)
await client.conversations.items.delete(listed[0].id, { conversation_id: conversation.id })
console.log("works")
