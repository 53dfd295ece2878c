import './base.css';
import './sql.css';
import './messages.css';
