"""Records of builds and deploys, and the reports and advice made from them."""
