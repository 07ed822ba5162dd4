export function site(template: string, route: string): string;
