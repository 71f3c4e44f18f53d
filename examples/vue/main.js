import { createApp } from 'vue';
import ChatComponent from './ChatComponent.vue';

createApp(ChatComponent).mount('#app');
