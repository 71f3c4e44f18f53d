// ChatComponent.jsx
import React, { useState, useEffect } from 'react';

const ChatComponent = () => {
    const [messages, setMessages] = useState([]);
    const [input, setInput] = useState('');
    const [isLoading, setIsLoading] = useState(false);
    const [isStreaming, setIsStreaming] = useState(false);
    const [currentStreamingMessage, setCurrentStreamingMessage] = useState('');

    const sendMessage = async (message) => {
        setIsLoading(true);
        
        try {
            const response = await fetch('/chat/', {
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

            const data = await response.json();
            
            setMessages(prev => [
                ...prev,
                { type: 'user', content: message },
                { type: 'agent', content: data.content }
            ]);
        } catch (error) {
            console.error('Error sending message:', error);
        } finally {
            setIsLoading(false);
        }
    };

    const sendStreamingMessage = async (message) => {
        setIsStreaming(true);
        setCurrentStreamingMessage('');
        
        // Add user message immediately
        setMessages(prev => [...prev, { type: 'user', content: message }]);
        
        try {
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
                const lines = buffer.split('\n');
                buffer = lines.pop();
                
                for (const line of lines) {
                    if (line.startsWith('data: ')) {
                        try {
                            const data = JSON.parse(line.slice(6));
                            if (data.is_final) {
                                // Stream completed, add final message
                                setMessages(prev => [...prev, { type: 'agent', content: currentStreamingMessage }]);
                                setCurrentStreamingMessage('');
                            } else {
                                // Update streaming message
                                setCurrentStreamingMessage(prev => prev + data.content);
                            }
                        } catch (e) {
                            console.error('Error parsing SSE data:', e);
                        }
                    }
                }
            }
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
                    onKeyPress={(e) => e.key === 'Enter' && sendMessage(input)}
                    placeholder="Type your message..."
                />
                <button onClick={() => sendMessage(input)} disabled={isLoading}>
                    Send
                </button>
            </div>
        </div>
    );
};

export default ChatComponent;
