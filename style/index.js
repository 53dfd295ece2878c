import './base.css';
import './sql.css';
