import './base.css';
import './sql.css';
import './messages.css';
import './document.css';
import './share.css';
