// In an application of yours the Angular CLI compiles the templates beforehand; here the compiler is in the bundle.
import '@angular/compiler';
import { bootstrapApplication } from '@angular/platform-browser';
import { ChatComponent } from './chat.component';

bootstrapApplication(ChatComponent);
