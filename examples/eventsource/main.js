// The guide's function, but for its `onerror`. `EventSource` cannot send anything: the message goes first, and then the page
// listens. The service knows its visitor by the cookie of the first answer.
function sendStreamingMessageWithEventSource(message) {
    // First send the message
    fetch('/chat/stream', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({
            content: message,
            media_urls: [],
            audio_urls: []
        })
    }).then(() => {
        // Then listen for streaming response
        const eventSource = new EventSource('/chat/stream');

        eventSource.onmessage = function(event) {
            const data = JSON.parse(event.data);
            if (data.is_final) {
                eventSource.close();
            } else {
                displayMessageChunk(data.content);
            }
        };

        // The guide closes here. Left open, the browser comes back by itself with `Last-Event-ID` and goes on behind what
        // it has; only when nothing is left to show (204) does it give up.
        eventSource.onerror = function(event) {
            if (eventSource.readyState === EventSource.CLOSED) console.error('SSE error:', event);
        };
    });
}

function displayMessageChunk(chunk) {
    // Append chunk to current message in UI
    const messageElement = document.getElementById('current-message');
    messageElement.textContent += chunk;
}

document.querySelector('form').addEventListener('submit', (event) => {
    event.preventDefault();
    const { message } = event.target.elements;
    const content = message.value.trim();
    if (!content) return;
    message.value = '';
    document.getElementById('current-message').textContent = '';
    sendStreamingMessageWithEventSource(content);
});
