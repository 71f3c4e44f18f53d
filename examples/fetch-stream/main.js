import { sendStreamingMessage } from './sendStreamingMessage.js';

const messageElement = document.getElementById('current-message');

document.querySelector('form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const { message } = event.target.elements;
    const content = message.value.trim();
    if (!content) return;
    message.value = '';
    messageElement.textContent = '';
    try {
        await sendStreamingMessage(content, (chunk) => { messageElement.textContent += chunk; });
    } catch (error) {
        console.error('Error sending streaming message:', error);
    }
});
