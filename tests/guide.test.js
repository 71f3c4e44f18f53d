// The chat integration guide, as written: its requests, its answers, and what is in the database afterwards.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startService, until } from "./helpers/service.js";

let service;
before(async () => { service = await startService(); });
after(() => service.stop());

test("the regular endpoint's example", async () => {
  const { status, headers, json } = await service.chat({
    content: "Hello, I want to schedule an appointment",
    media_urls: ["https://example.com/image.jpg"],
    audio_urls: ["https://example.com/audio.mp3"],
  });
  assert.equal(status, 200);
  assert.equal(headers.get("content-type"), "application/json");
  assert.deepEqual(Object.keys(json), ["content"]);
  assert.match(json.content, /^Hello! I'm Anna, your consultation assistant at Istanbul Medic\./);
});

test("the unit tests: both endpoints answer in Anna's name", async () => {
  const chat = await service.chat({ content: "Hello, I want to schedule an appointment", media_urls: [], audio_urls: [] });
  assert.equal(chat.status, 200);
  assert.ok(chat.json.content.includes("Anna"));

  const response = await service.post("/chat/stream", {
    content: "I need help with my medical consultation", media_urls: [], audio_urls: [],
  });
  assert.equal(response.status, 200);
  // The guide looks for the name in the raw text of the stream; here every word is an event of its own.
  assert.ok((await response.text()).includes("Anna"));
});

test("the integration test: the user and both messages are stored", async () => {
  const { json } = await service.chat({ user_id: "test_user_123", content: "Hello, I want to schedule an appointment" });
  assert.ok(json.content.includes("Anna"));

  const [user] = await service.sql`SELECT * FROM users WHERE phone_number = 'chat_test_user_123'`;
  assert.ok(user);
  const messages = await service.sql`SELECT * FROM messages WHERE user_id = ${user.id} ORDER BY created_at, id`;
  assert.deepEqual(messages.map(({ direction, body }) => [direction, body]), [
    ["incoming", "Hello, I want to schedule an appointment"],
    ["outgoing", json.content],
  ]);
  assert.ok(messages[0].id < messages[1].id);
});

test("the end-to-end test: a consultation in two steps, by one visitor with cookies", async () => {
  const first = await service.chat({ content: "Hello, I want to schedule an appointment", media_urls: [], audio_urls: [] });
  assert.equal(first.status, 200);
  assert.ok(first.json.content.includes("Anna"));
  const cookie = first.headers.get("set-cookie");
  assert.match(cookie, /^edge_chat=[\w.-]{100,}; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax$/);

  const second = await service.chat(
    { content: "My name is John Doe and I need help with hair transplant", media_urls: [], audio_urls: [] },
    { Cookie: cookie.split(";")[0] },
  );
  assert.equal(second.status, 200);
  assert.ok(second.json.content.includes("John"));
  assert.equal(second.headers.get("set-cookie"), null);

  // The cookie holds the session token, and that is renewed only when it gets old.
  assert.ok(cookie.startsWith(`edge_chat=${first.headers.get("x-chat-token")};`));
  assert.equal(second.headers.get("x-chat-token"), null);
  const messages = (await service.messages()).filter(({ phone_number }) => phone_number.startsWith("chat_visitor_")).slice(-4);
  assert.equal(new Set(messages.map(({ phone_number }) => phone_number)).size, 1);
  assert.deepEqual(messages.map(({ direction }) => direction), ["incoming", "outgoing", "incoming", "outgoing"]);
  assert.equal(messages[0].name, "John Doe");
});

test("the JavaScript client, as the guide prints it", async () => {
  let displayed = "";
  let completed = 0;
  const errors = [];
  const context = {
    fetch: (path, init) => fetch(service.url + path, init),
    displayMessageChunk: (chunk) => { displayed += chunk; },
    console: { log: () => { completed += 1; }, error: (...parts) => errors.push(parts) },
  };
  const sendStreamingMessage = new Function(...Object.keys(context), `
    return async function sendStreamingMessage(message) {
      const response = await fetch('/chat/stream', {
          method: 'POST',
          headers: {
              'Content-Type': 'application/json',
          },
          body: JSON.stringify({
              content: message,
              media_urls: [],
              audio_urls: []
          })
      });

      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      let buffer = '';

      while (true) {
          const { done, value } = await reader.read();
          if (done) break;

          buffer += decoder.decode(value, { stream: true });

          // Process complete SSE messages
          const lines = buffer.split('\\n');
          buffer = lines.pop(); // Keep incomplete line in buffer

          for (const line of lines) {
              if (line.startsWith('data: ')) {
                  try {
                      const data = JSON.parse(line.slice(6));
                      if (data.is_final) {
                          console.log('Stream completed');
                      } else {
                          displayMessageChunk(data.content);
                      }
                  } catch (e) {
                      console.error('Error parsing SSE data:', e);
                  }
              }
          }
      }
    }`)(...Object.values(context));
  await sendStreamingMessage("Hello");
  assert.match(displayed, /^Hello! I'm Anna, .* for this purpose\?$/);
  assert.equal(completed, 1);
  assert.deepEqual(errors, []);
});

test("every URL is kept: the first with the message, all of them as attachments", async () => {
  await service.chat({
    user_id: "files",
    content: "",
    media_urls: ["https://a.test/1.jpg", "https://a.test/2.jpg"],
    audio_urls: ["http://a.test/3.mp3"],
  });
  const [message] = (await service.messages()).filter(({ phone_number }) => phone_number === "chat_files");
  assert.equal(message.media_url, "https://a.test/1.jpg");
  const attachments = await service.sql`
    SELECT kind, position, url FROM chat_attachments WHERE message_id = ${message.id} ORDER BY kind DESC, position`;
  assert.deepEqual(attachments.map(Object.values), [
    ["media", 1, "https://a.test/1.jpg"],
    ["media", 2, "https://a.test/2.jpg"],
    ["audio", 1, "http://a.test/3.mp3"],
  ]);
});

test("the name follows what the visitor says last", async () => {
  const name = async () => (await service.sql`SELECT name FROM users WHERE phone_number = 'chat_namesake'`)[0]?.name;
  await service.chat({ user_id: "namesake", content: "Hello" });
  assert.equal(await name(), null);
  await service.chat({ user_id: "namesake", content: "My name is Jon Doe" });
  assert.equal(await name(), "Jon Doe");
  await service.chat({ user_id: "namesake", content: "Sorry, my name is John Doe." });
  assert.equal(await name(), "John Doe");
  await service.chat({ user_id: "namesake", content: "What does it cost?" });
  assert.equal(await name(), "John Doe");
});

test("the log tells of users, messages and streams, and nothing of what was said", async () => {
  const { headers } = await service.chat({ user_id: "quiet_user", content: "My name is Zebedee Quux, zebedee@example.com" });
  await service.stream({ user_id: "quiet_user", content: "My name is Zebedee Quux" });
  const id = headers.get("x-request-id");
  const [line] = await until(() => service.logged("📩 Chat message").filter((line) => line.request_id === id));
  await until(() => service.logged("📩 Chat streaming message").length);
  assert.equal(service.logged("✅ User created").filter((line) => line.request_id === id).length, 1);
  assert.equal(line.state, "complete");
  assert.ok(line.total_ms >= line.recorded_ms);
  assert.doesNotMatch(JSON.stringify(service.logs), /zebedee|quux|quiet_user/i);
});
