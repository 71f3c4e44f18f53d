import { createRoot } from 'react-dom/client';
import ChatComponent from './ChatComponent.jsx';

createRoot(document.getElementById('app')).render(<ChatComponent />);
