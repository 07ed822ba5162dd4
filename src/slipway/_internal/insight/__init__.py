"""Records of builds and deploys, and what is made of them: reports and advice."""
