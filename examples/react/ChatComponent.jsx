import { useState } from 'react';
import { sendStreamingMessage } from '../fetch-stream/sendStreamingMessage.js';

// The guide's component. Its final message read `currentStreamingMessage` as it was when the function was made: empty.
// Here the reply is a message of the list from its first word on, so nothing has to be read back.
const ChatComponent = () => {
    const [messages, setMessages] = useState([]);
    const [input, setInput] = useState('');
    const [isStreaming, setIsStreaming] = useState(false);

    const sendMessage = async () => {
        const content = input.trim();
        if (!content || isStreaming) return;
        setIsStreaming(true);
        setInput('');
        setMessages(prev => [...prev, { type: 'user', content }, { type: 'agent', content: '' }]);

        try {
            await sendStreamingMessage(content, (chunk) => setMessages(prev => [
                ...prev.slice(0, -1),
                { type: 'agent', content: prev.at(-1).content + chunk }
            ]));
        } catch (error) {
            console.error('Error sending streaming message:', error);
        } finally {
            setIsStreaming(false);
        }
    };

    return (
        <div className="chat-container">
            <div className="messages">
                {messages.map((msg, index) => (
                    <div key={index} className={`message ${msg.type}`}>
                        {msg.content}
                    </div>
                ))}
            </div>
            <div className="input-container">
                <input
                    value={input}
                    onChange={(e) => setInput(e.target.value)}
                    onKeyDown={(e) => e.key === 'Enter' && sendMessage()}
                    placeholder="Type your message..."
                />
                <button onClick={sendMessage} disabled={isStreaming}>
                    Send
                </button>
            </div>
        </div>
    );
};

export default ChatComponent;
