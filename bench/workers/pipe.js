// The floor of a streamed reply: the model's own bytes, which never enter JavaScript. Nothing is stored, nothing is in
// the guide's format.
export default {
  async fetch(request, env) {
    const { content } = await request.json();
    const response = await fetch(`${env.OPENAI_BASE_URL}/chat/completions`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ model: env.OPENAI_MODEL, stream: true, messages: [{ role: "user", content }] }),
    });
    return new Response(response.body, { status: response.status, headers: { "Content-Type": "text/event-stream" } });
  },
};
