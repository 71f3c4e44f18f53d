/**
 * The guide's function. What is shown, and what is done at the end, are parameters, so that every framework's component
 * can use it; and an answer that is no stream (a problem document) is an error instead of silence.
 */
export async function sendStreamingMessage(message, displayMessageChunk) {
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
    if (!response.ok) throw new Error((await response.json()).detail);

    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let buffer = '';

    while (true) {
        const { done, value } = await reader.read();
        if (done) break;

        buffer += decoder.decode(value, { stream: true });

        // Process complete SSE messages
        const lines = buffer.split('\n');
        buffer = lines.pop(); // Keep incomplete line in buffer

        for (const line of lines) {
            if (line.startsWith('data: ')) {
                const data = JSON.parse(line.slice(6));
                if (data.error) throw new Error(data.error.message);
                if (data.is_final) return;
                displayMessageChunk(data.content);
            }
        }
    }
    throw new Error('The connection broke.');
}
