import { Component, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { sendStreamingMessage } from '../fetch-stream/sendStreamingMessage.js';

interface Message {
    type: 'user' | 'agent';
    content: string;
}

// The guide's component as Angular is written today: what the template uses is imported, and signals tell it what has
// changed. `(keypress.enter)`, which Angular does not know, is `(keydown.enter)`. The reply streams, for which `fetch` is
// simpler than `HttpClient`.
@Component({
    selector: 'app-chat',
    imports: [FormsModule],
    template: `
        <div class="chat-container">
            <div class="messages">
                @for (message of messages(); track $index) {
                    <div [class]="'message ' + message.type">{{ message.content }}</div>
                }
            </div>
            <div class="input-container">
                <input
                    [(ngModel)]="input"
                    (keydown.enter)="sendMessage()"
                    placeholder="Type your message..."
                />
                <button (click)="sendMessage()" [disabled]="isLoading()">
                    Send
                </button>
            </div>
        </div>
    `
})
export class ChatComponent {
    readonly messages = signal<Message[]>([]);
    readonly input = signal('');
    readonly isLoading = signal(false);

    async sendMessage() {
        const content = this.input().trim();
        if (!content || this.isLoading()) return;

        this.isLoading.set(true);
        this.input.set('');
        this.messages.update((messages) => [...messages, { type: 'user', content }, { type: 'agent', content: '' }]);

        try {
            await sendStreamingMessage(content, (chunk: string) => this.messages.update((messages) => {
                const reply = messages[messages.length - 1];
                return [...messages.slice(0, -1), { ...reply, content: reply.content + chunk }];
            }));
        } catch (error) {
            console.error('Error sending message:', error);
        } finally {
            this.isLoading.set(false);
        }
    }
}
