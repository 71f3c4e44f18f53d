// chat.component.ts
import { Component } from '@angular/core';
import { HttpClient } from '@angular/common/http';

interface Message {
    type: 'user' | 'agent';
    content: string;
}

@Component({
    selector: 'app-chat',
    template: `
        <div class="chat-container">
            <div class="messages">
                <div 
                    *ngFor="let message of messages; let i = index" 
                    [class]="'message ' + message.type"
                >
                    {{ message.content }}
                </div>
            </div>
            <div class="input-container">
                <input
                    [(ngModel)]="input"
                    (keypress.enter)="sendMessage()"
                    placeholder="Type your message..."
                />
                <button (click)="sendMessage()" [disabled]="isLoading">
                    Send
                </button>
            </div>
        </div>
    `
})
export class ChatComponent {
    messages: Message[] = [];
    input: string = '';
    isLoading: boolean = false;

    constructor(private http: HttpClient) {}

    async sendMessage() {
        if (!this.input.trim()) return;
        
        this.isLoading = true;
        
        try {
            const response = await this.http.post('/chat/', {
                content: this.input,
                media_urls: [],
                audio_urls: []
            }).toPromise();
            
            this.messages.push(
                { type: 'user', content: this.input },
                { type: 'agent', content: response.content }
            );
            
            this.input = '';
        } catch (error) {
            console.error('Error sending message:', error);
        } finally {
            this.isLoading = false;
        }
    }
}
