// What the guide's component, printed for an older Angular, takes for granted: a module that declares it with the
// directives of its template, zone.js that looks for changes, and constructor types that the compiler writes down.
import 'zone.js';
import '@angular/compiler';
import { NgFor } from '@angular/common';
import { HttpClient, provideHttpClient } from '@angular/common/http';
import { ChangeDetectionStrategy, Component, provideZoneChangeDetection } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { bootstrapApplication } from '@angular/platform-browser';
import { ChatComponent } from './chat.component';

const [written] = (ChatComponent as any).__annotations__;
(ChatComponent as any).ctorParameters = () => [{ type: HttpClient }];
Component({ ...written, imports: [NgFor, FormsModule], changeDetection: ChangeDetectionStrategy.Eager })(ChatComponent);
bootstrapApplication(ChatComponent, { providers: [provideHttpClient(), provideZoneChangeDetection()] });
